#include "report/relations.h"

#include <algorithm>
#include <array>

namespace engram {
namespace {

struct Label {
  std::string_view relation, label;
};

/// The relations of ParaRel and of the T-REx part of LAMA that it comes from, by Wikidata's names
/// of these properties; sorted.
constexpr std::array kLabels = {Label{"P1001", "applies to jurisdiction"},
                                Label{"P101", "field of work"},
                                Label{"P103", "native language"},
                                Label{"P106", "occupation"},
                                Label{"P108", "employer"},
                                Label{"P127", "owned by"},
                                Label{"P1303", "instrument"},
                                Label{"P131", "located in the administrative territorial entity"},
                                Label{"P136", "genre"},
                                Label{"P1376", "capital of"},
                                Label{"P138", "named after"},
                                Label{"P140", "religion or worldview"},
                                Label{"P1412", "languages spoken, written or signed"},
                                Label{"P159", "headquarters location"},
                                Label{"P17", "country"},
                                Label{"P176", "manufacturer"},
                                Label{"P178", "developer"},
                                Label{"P19", "place of birth"},
                                Label{"P190", "twinned administrative body"},
                                Label{"P20", "place of death"},
                                Label{"P264", "record label"},
                                Label{"P27", "country of citizenship"},
                                Label{"P276", "location"},
                                Label{"P279", "subclass of"},
                                Label{"P30", "continent"},
                                Label{"P31", "instance of"},
                                Label{"P36", "capital"},
                                Label{"P361", "part of"},
                                Label{"P364", "original language of film or TV show"},
                                Label{"P37", "official language"},
                                Label{"P39", "position held"},
                                Label{"P407", "language of work or name"},
                                Label{"P413", "position played on team / speciality"},
                                Label{"P449", "original broadcaster"},
                                Label{"P463", "member of"},
                                Label{"P47", "shares border with"},
                                Label{"P495", "country of origin"},
                                Label{"P527", "has part(s)"},
                                Label{"P530", "diplomatic relation"},
                                Label{"P740", "location of formation"},
                                Label{"P937", "work location"}};
static_assert(std::ranges::is_sorted(kLabels, {}, &Label::relation));

}  // namespace

std::string_view relation_label(std::string_view relation) {
  const auto* found = std::ranges::lower_bound(kLabels, relation, {}, &Label::relation);
  return found != kLabels.end() && found->relation == relation ? found->label : "";
}

std::string relation_title(const std::string& relation) {
  const std::string_view label = relation_label(relation);
  return label.empty() ? relation : relation + " (" + std::string(label) + ")";
}

}  // namespace engram
