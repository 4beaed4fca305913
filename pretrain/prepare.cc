#include "pretrain/prepare.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/text/facts.h"
#include "engram/text/tokenizer.h"
#include "pretrain/corpus.h"
#include "pretrain/dataset.h"
#include "pretrain/wordpiece.h"

namespace engram::pretrain {
namespace fs = std::filesystem;
namespace {

/// Relations between kinds of things, where a subject in lower case is a name like any other. In
/// the others it is a common word that only looks like a subject.
const std::set<std::string> kCommonNouns = {"P138", "P279", "P361", "P495", "P527"};

struct Candidate {
  std::string relation, subject, object;
  std::vector<size_t> rows;
};

struct Encoded {
  std::vector<uint16_t> tokens;
  std::vector<uint8_t> answers;
};

/// Every (relation, subject) with the object that most sentences name with it.
std::vector<Candidate> candidates(const std::vector<FactRow>& rows, const PhrasingFile& phrasings) {
  std::map<std::array<std::string, 3>, std::vector<size_t>> by_fact;
  for (size_t i = 0; i < rows.size(); ++i) {
    const FactRow& row = rows[i];
    if (row.subject.find(row.object) != std::string::npos) continue;  // the answer could be copied
    const auto first = static_cast<unsigned char>(row.subject.front());
    for (const std::string& relation : row.relations) {
      if (!phrasings.relations.contains(relation)) continue;
      if (std::islower(first) != 0 && !kCommonNouns.contains(relation)) continue;
      by_fact[{relation, row.subject, row.object}].push_back(i);
    }
  }
  std::map<std::array<std::string, 2>, Candidate> best;
  for (auto& [fact, sentences] : by_fact) {  // sorted, so ties go to the first in the alphabet
    Candidate& c = best[{fact[0], fact[1]}];
    if (sentences.size() > c.rows.size()) c = {fact[0], fact[1], fact[2], std::move(sentences)};
  }
  std::vector<Candidate> result;
  for (auto& [key, candidate] : best) result.push_back(std::move(candidate));
  return result;
}

std::vector<uint16_t> to_tokens(const std::vector<int64_t>& ids) {
  return {ids.begin(), ids.end()};
}

/// The sentence with the object marked wherever it stands as a word; empty when it is too long or
/// does not hold the object as one token.
Encoded encode_sentence(const Tokenizer& tokenizer, const std::string& sentence, int64_t object,
                        size_t longest) {
  const std::vector<int64_t> ids = tokenizer.encode(sentence, false);
  Encoded result;
  if (ids.size() > longest) return result;
  result.tokens = to_tokens(ids);
  result.answers.assign(result.tokens.size(), 0);
  bool found = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool whole = i + 1 == ids.size() || !tokenizer.token_of(ids[i + 1]).starts_with("##");
    if (ids[i] != object || !whole) continue;
    result.answers[i] = 1;
    found = true;
  }
  if (!found) result = {};
  return result;
}

/// The prompt with the answer in the place of the mask, marked.
Encoded encode_filled(const Tokenizer& tokenizer, const std::string& prompt, int64_t object) {
  Encoded result;
  const std::vector<int64_t> ids = tokenizer.encode(prompt, false);
  result.tokens = to_tokens(ids);
  result.answers.assign(result.tokens.size(), 0);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != tokenizer.mask_id()) continue;
    result.tokens[i] = static_cast<uint16_t>(object);
    result.answers[i] = 1;
  }
  return result;
}

/// Cuts a paragraph into sequences of at most `longest` tokens, behind a full stop where one stands
/// in the second half.
void add_text(Sequences& texts, const Tokenizer& tokenizer, const std::vector<int64_t>& ids,
              size_t longest) {
  constexpr size_t kShortest = 12;
  const std::optional<int64_t> full_stop = tokenizer.id_of(".");
  const std::vector<uint16_t> tokens = to_tokens(ids);
  const std::vector<uint8_t> none(longest, 0);
  size_t at = 0;
  while (tokens.size() - at >= kShortest) {
    size_t count = std::min(longest, tokens.size() - at);
    if (at + count < tokens.size()) {
      for (size_t k = count; k > longest / 2; --k) {
        if (ids[at + k - 1] != full_stop) continue;
        count = k;
        break;
      }
    }
    texts.add(std::span(tokens).subspan(at, count), std::span(none).first(count),
              static_cast<uint32_t>(Dataset::kNoFact));
    at += count;
  }
}

/// Trains the vocabulary or copies a ready one, and reads it.
Tokenizer make_tokenizer(const PrepareOptions& options, const std::vector<FactRow>& rows,
                         const std::vector<std::string>& paragraphs,
                         const std::vector<Candidate>& facts) {
  if (options.vocabulary.empty()) {
    std::set<std::string> objects;
    for (const Candidate& fact : facts) {
      if (static_cast<int64_t>(fact.rows.size()) >= options.min_sentences) {
        objects.insert(fact.object);
      }
    }
    std::vector<std::string> corpus = paragraphs;
    for (const FactRow& row : rows) corpus.push_back(row.sentence);
    train_wordpiece(corpus, objects, options.vocabulary_size, options.out);
  } else {
    for (const char* name : {"tokenizer.json", "vocab.txt", "tokenizer_config.json"}) {
      AtomicFile file(options.out / name);
      file.write(read_file(options.vocabulary / name));
      file.commit();
    }
  }
  Tokenizer tokenizer = Tokenizer::load(options.out);
  if (tokenizer.vocabulary() > 65535) throw UsageError("--vocabulary-size is limited to 65535");
  return tokenizer;
}

int64_t special(const Tokenizer& tokenizer, const char* token) {
  const auto id = tokenizer.id_of(token);
  if (!id) throw InputError(std::string("the vocabulary lacks ") + token);
  return *id;
}

}  // namespace

PrepareReport prepare(const PrepareOptions& options,
                      const std::function<void(const std::string&)>& say) {
  const size_t longest = static_cast<size_t>(options.max_tokens) - 2;
  const PhrasingFile phrasings = read_phrasings(options.phrasings);
  std::error_code failed;
  fs::create_directories(options.out, failed);
  if (failed) throw FileError(options.out.string() + ": cannot create folder: " + failed.message());

  PrepareReport report;
  say("reading the sentences");
  const std::vector<FactRow> rows = read_fact_rows(options.source / "facts");
  std::vector<Candidate> facts = candidates(rows, phrasings);
  report.rows = static_cast<int64_t>(rows.size());
  report.candidates = static_cast<int64_t>(facts.size());
  const std::vector<std::string> paragraphs =
      read_paragraphs(options.source / "wiki", static_cast<size_t>(options.text_bytes));
  say("making the vocabulary");
  const Tokenizer tokenizer = make_tokenizer(options, rows, paragraphs, facts);

  Dataset data;
  data.vocabulary = report.vocabulary = tokenizer.vocabulary();
  data.pad = special(tokenizer, "[PAD]");
  data.unknown = special(tokenizer, "[UNK]");
  data.cls = special(tokenizer, "[CLS]");
  data.sep = special(tokenizer, "[SEP]");
  data.mask = tokenizer.mask_id();
  data.first_ordinary = std::max({data.pad, data.unknown, data.cls, data.sep, data.mask}) + 1;

  say("choosing the facts");
  struct Chosen {
    const Candidate* fact;
    std::vector<Encoded> sentences;
  };
  std::map<std::string, std::vector<Chosen>> by_relation;
  for (const Candidate& fact : facts) {
    Interrupt::check();
    if (static_cast<int64_t>(fact.rows.size()) < options.min_sentences) continue;
    const std::vector<int64_t> object = tokenizer.encode(fact.object, false);
    if (object.size() != 1 || tokenizer.token_of(object[0]) != fact.object) continue;
    Chosen chosen{&fact, {}};
    for (const size_t row : fact.rows) {
      Encoded sentence = encode_sentence(tokenizer, rows[row].sentence, object[0], longest);
      if (!sentence.tokens.empty()) chosen.sentences.push_back(std::move(sentence));
    }
    if (static_cast<int64_t>(chosen.sentences.size()) < options.min_sentences) continue;
    by_relation[fact.relation].push_back(std::move(chosen));
  }
  std::string lines;
  std::set<std::string> objects;
  for (auto& [relation, list] : by_relation) {
    std::stable_sort(list.begin(), list.end(), [](const Chosen& a, const Chosen& b) {
      return a.sentences.size() > b.sentences.size();
    });
    std::map<std::string, int64_t> per_object;
    std::vector<const Chosen*> taken;
    for (const Chosen& chosen : list) {
      if (static_cast<int64_t>(taken.size()) == options.facts_per_relation) break;
      if (++per_object[chosen.fact->object] <= options.facts_per_object) taken.push_back(&chosen);
    }
    if (static_cast<int64_t>(taken.size()) < options.min_facts) continue;
    ++report.relations;
    const Phrasings& say_it = phrasings.relations.at(relation);
    for (const Chosen* chosen : taken) {
      const uint32_t number = static_cast<uint32_t>(data.facts++);
      const int64_t object = *tokenizer.id_of(chosen->fact->object);
      for (const Encoded& s : chosen->sentences) data.sentences.add(s.tokens, s.answers, number);
      Fact fact;
      fact.relation = relation;
      fact.subject = chosen->fact->subject;
      fact.object = chosen->fact->object;
      objects.insert(fact.object);
      for (const std::string& phrasing : say_it.trained) {
        fact.prompts.push_back(fill_phrasing(phrasing, fact.subject));
        const Encoded prompt = encode_filled(tokenizer, fact.prompts.back(), object);
        if (prompt.tokens.size() <= longest) {
          data.prompts.add(prompt.tokens, prompt.answers, number);
        }
      }
      for (const std::string& phrasing : say_it.held_out) {
        fact.held_out.push_back(fill_phrasing(phrasing, fact.subject));
      }
      lines += fact_to_json(fact) + "\n";
    }
  }
  if (data.facts == 0) throw InputError("no fact has enough sentences");
  for (const auto& [from, to] : {std::pair{&phrasings.openers, &data.openers},
                                 std::pair{&phrasings.closers, &data.closers}}) {
    for (const std::string& text : *from) {
      const std::vector<uint16_t> tokens = to_tokens(tokenizer.encode(text, false));
      to->add(tokens, std::vector<uint8_t>(tokens.size(), 0),
              static_cast<uint32_t>(Dataset::kNoFact));
    }
  }

  say("encoding the general text");
  for (const std::string& paragraph : paragraphs) {
    Interrupt::check();
    add_text(data.texts, tokenizer, tokenizer.encode(paragraph, false), longest);
  }
  AtomicFile facts_file(options.out / "facts.jsonl");
  facts_file.write(lines);
  facts_file.commit();
  data.write(options.out / "data.bin");

  report.facts = data.facts;
  report.objects = static_cast<int64_t>(objects.size());
  report.sentences = static_cast<int64_t>(data.sentences.size());
  report.texts = static_cast<int64_t>(data.texts.size());
  report.prompts = static_cast<int64_t>(data.prompts.size());
  report.sentence_tokens = static_cast<int64_t>(data.sentences.total_tokens());
  report.text_tokens = static_cast<int64_t>(data.texts.total_tokens());
  return report;
}

}  // namespace engram::pretrain
