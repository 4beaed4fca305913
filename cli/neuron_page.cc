// The page of `engram neuron`, with the report's tables, charts and marked texts.
#include <limits>
#include <utility>

#include "cli/neuron_output.h"
#include "cli/pieces.h"
#include "engram/base/utf8.h"
#include "engram/report/tables.h"

namespace engram::cli {
namespace {

constexpr size_t kPageBins = 40;

/// The token as the report's marked texts take it: with "##" it goes on with the word before.
std::string marked_token(const Tokenizer& tokenizer, int64_t id) {
  const Piece piece = piece_of(tokenizer, id);
  return (piece.begins ? "\u0120" : "##") + printable(piece.text);
}

std::string neuron_title(NeuronId id) {
  return "Layer " + std::to_string(id.layer) + ", neuron " + std::to_string(id.neuron);
}

ReportExamples examples_of(const Tokenizer& tokenizer, const OpenedNeuron& opened) {
  ReportExamples block;
  block.id = "texts";
  block.title = "Texts on which it is most and least active";
  block.meaning =
      "Nothing is masked. Of a causal model each text ends with the token on which the neuron is "
      "most (least) active. What the texts share is a hypothesis: the same neuron can look "
      "different in another corpus.";
  for (const auto& [list, lowest] :
       {std::pair{&opened.activity->most, false}, {&opened.activity->least, true}}) {
    for (const Trigger& trigger : *list) {
      MarkedText text;
      text.neuron = neuron_title(opened.id);
      text.lowest = lowest;
      text.activation = trigger.activation;
      for (size_t i = 0; i < trigger.ids.size(); ++i) {
        text.tokens.emplace_back(marked_token(tokenizer, trigger.ids[i]), trigger.values[i]);
      }
      block.examples.push_back(std::move(text));
    }
  }
  return block;
}

Chart histogram_of(const Activity& activity) {
  Chart chart;
  chart.id = "histogram";
  chart.title = "How its activation is spread";
  chart.meaning =
      "Tokens of the corpus by activation, special tokens left out. The scale is logarithmic: a "
      "bin "
      "with one token has no height.";
  chart.kind = ChartKind::kHistogram;
  chart.x = {"activation", false, false};
  chart.y = {"tokens", true, false};
  ChartSeries& series = chart.series.emplace_back();
  series.name = "tokens";
  const double none = std::numeric_limits<double>::quiet_NaN();
  for (const Distribution::Bin& bin : activity.distribution.bins(kPageBins)) {
    const double count = bin.count > 0 ? static_cast<double>(bin.count) : none;
    series.points.push_back({bin.low, bin.high, {count, none, none}});
  }
  return chart;
}

ReportTable spread_of(const Activity& activity) {
  const Distribution& spread = activity.distribution;
  ReportTable table;
  table.id = "spread";
  table.title = "Quantiles";
  table.columns = {{"", CellFormat::kText}, {"activation", CellFormat::kSigned}};
  const auto add = [&](std::string name, double value) {
    table.rows.push_back({text_cell(std::move(name)), number_cell(value)});
  };
  add("least", spread.least());
  for (const double share : told_shares()) {
    add(format_percent(share, 0) + " of the tokens below", spread.quantile(share));
  }
  add("largest", spread.largest());
  add("mean", spread.mean());
  table.notes.push_back("Above 0 on " + format_percent(spread.share_positive()) + " of " +
                        format_count(spread.count(), "token") + ", standard deviation " +
                        format_number(spread.deviation(), 3) + ".");
  return table;
}

ReportTable values_of(const Tokenizer& tokenizer, const std::string& id, const std::string& title,
                      const std::vector<ValueToken>& tokens) {
  ReportTable table;
  table.id = id;
  table.title = title;
  table.columns = {{"token", CellFormat::kText},
                   {"id", CellFormat::kText},
                   {"logit", CellFormat::kSigned},
                   {"P", CellFormat::kNumber}};
  for (const ValueToken& one : tokens) {
    table.rows.push_back({text_cell(printable(tokenizer.token_of(one.id))),
                          text_cell(std::to_string(one.id)), number_cell(one.logit),
                          number_cell(one.p)});
  }
  return table;
}

ReportTable near_of(const Tokenizer& tokenizer, const std::string& id, const std::string& title,
                    const std::vector<NeighbourRow>& rows) {
  ReportTable table;
  table.id = id;
  table.title = title;
  table.columns = {{"neuron", CellFormat::kText},
                   {"cosine", CellFormat::kSigned},
                   {"its value raises", CellFormat::kText}};
  for (const NeighbourRow& row : rows) {
    std::string tokens;
    for (const int64_t one : row.tokens) {
      tokens += (tokens.empty() ? "" : " ") + printable(tokenizer.token_of(one));
    }
    table.rows.push_back({text_cell(neuron_name(row.neighbour.neuron)),
                          number_cell(row.neighbour.cosine), text_cell(std::move(tokens))});
  }
  return table;
}

ReportTable facts_of(const OpenedNeuron& opened) {
  ReportTable table;
  table.id = "facts";
  table.title = "Located facts that hold it";
  table.meaning = format_count(static_cast<int64_t>(opened.holds.size())) + " of " +
                  format_count(opened.facts, "fact") + ".";
  table.columns = {{"relation", CellFormat::kRelation},
                   {"subject", CellFormat::kText},
                   {"object", CellFormat::kText},
                   {"set", CellFormat::kText}};
  for (const HeldFact& fact : opened.holds) {
    table.rows.push_back({text_cell(printable(fact.relation)), text_cell(printable(fact.subject)),
                          text_cell(printable(fact.object)),
                          text_cell(fact.refined ? "knowledge neurons" : "not refined")});
  }
  return table;
}

}  // namespace

std::string neuron_page(const NeuronCommandOptions& options, const LoadedModel& loaded,
                        const OpenedNeuron& opened) {
  const Tokenizer& tokenizer = loaded.tokenizer;
  RunReport page;
  page.title = neuron_title(opened.id);
  page.subtitle = "Model: " + printable(options.model);
  if (opened.activity) {
    page.subtitle += ". Corpus: " + printable(opened.corpus) + ", " +
                     format_count(opened.activity->counts.words, "word");
    ReportSection key;
    key.id = "key";
    key.title = "Key";
    key.intro = "What triggers it.";
    key.blocks.emplace_back(examples_of(tokenizer, opened));
    key.blocks.emplace_back(histogram_of(*opened.activity));
    key.blocks.emplace_back(spread_of(*opened.activity));
    page.sections.push_back(std::move(key));
  }
  ReportSection value;
  value.id = "value";
  value.title = "Value";
  value.intro =
      "What it writes: logits that the LM head gives to its value vector alone, minus those that "
      "it "
      "gives to zeros.";
  value.blocks.emplace_back(values_of(tokenizer, "raised", "Tokens that it raises", opened.raised));
  value.blocks.emplace_back(
      values_of(tokenizer, "lowered", "Tokens that it lowers", opened.lowered));
  page.sections.push_back(std::move(value));
  if (opened.located) {
    ReportSection facts;
    facts.id = "located";
    facts.title = "Facts";
    facts.blocks.emplace_back(facts_of(opened));
    page.sections.push_back(std::move(facts));
  }
  ReportSection like;
  like.id = "like";
  like.title = "Neurons like it";
  like.intro = "By the cosine, over all layers.";
  like.blocks.emplace_back(near_of(tokenizer, "near-key", "With a similar key", opened.by_key));
  like.blocks.emplace_back(
      near_of(tokenizer, "near-value", "With a similar value", opened.by_value));
  page.sections.push_back(std::move(like));
  return report_html(page);
}

}  // namespace engram::cli
