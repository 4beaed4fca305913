//! Trains a BERT WordPiece vocabulary, the same one in every process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::c_char;

use ahash::AHashMap;
use compact_str::CompactString;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::{BpeTrainerBuilder, BPE};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer,
};

use crate::{guarded, text, to_c};

const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const PREFIX: &str = "##";

struct Options {
    vocabulary: usize,
    min_frequency: u64,
    limit_alphabet: usize,
    lowercase: bool,
}

/// The words that BERT's normalizer and splitter make of a text.
fn words(normalizer: &BertNormalizer, text: &str) -> Result<Vec<String>, String> {
    let mut normalized = NormalizedString::from(text);
    normalizer
        .normalize(&mut normalized)
        .map_err(|e| e.to_string())?;
    let mut split = PreTokenizedString::from(normalized);
    BertPreTokenizer
        .pre_tokenize(&mut split)
        .map_err(|e| e.to_string())?;
    Ok(split
        .get_splits(OffsetReferential::Original, OffsetType::None)
        .into_iter()
        .map(|(word, _, _)| word.to_string())
        .collect())
}

/// The most frequent characters, at most `limit`; of equally frequent ones the lower code points.
fn alphabet(counts: &HashMap<String, u64>, limit: usize) -> BTreeSet<char> {
    let mut frequency: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in counts {
        for character in word.chars() {
            *frequency.entry(character).or_default() += count;
        }
    }
    let mut ranked: Vec<(char, u64)> = frequency.into_iter().collect();
    ranked.sort_by_key(|&(character, count)| (std::cmp::Reverse(count), character));
    ranked
        .into_iter()
        .take(limit)
        .map(|(character, _)| character)
        .collect()
}

/// The tokenizer.json of a vocabulary trained on `corpus` (one text a line), in which each of
/// `whole_words` is one token.
fn train_wordpiece<'a>(
    corpus: impl Iterator<Item = &'a str>,
    whole_words: impl Iterator<Item = &'a str>,
    options: &Options,
) -> Result<String, String> {
    let normalizer = BertNormalizer::new(true, true, None, options.lowercase);
    let mut counts: HashMap<String, u64> = HashMap::new();
    for line in corpus {
        for word in words(&normalizer, line)? {
            *counts.entry(word).or_default() += 1;
        }
    }
    let alphabet = alphabet(&counts, options.limit_alphabet);
    // A word with a character outside of the alphabet is unknown as a whole, so none of its pieces
    // is worth a token.
    counts.retain(|word, _| word.chars().all(|character| alphabet.contains(&character)));
    let continuing: BTreeSet<char> = counts
        .keys()
        .flat_map(|word| word.chars().skip(1))
        .collect();

    // The crate's trainer numbers continuing characters in the order of a randomly seeded map, and
    // breaks ties between equally frequent pairs by those numbers. Naming them beforehand, as if
    // they were special tokens, makes the result a function of the corpus.
    let mut known: Vec<String> = SPECIAL_TOKENS
        .iter()
        .map(|token| token.to_string())
        .collect();
    known.extend(alphabet.iter().map(char::to_string));
    known.extend(
        continuing
            .iter()
            .map(|character| format!("{PREFIX}{character}")),
    );
    let mut seen: BTreeSet<String> = known.iter().cloned().collect();
    for word in whole_words.filter(|word| !word.is_empty()) {
        let split = words(&normalizer, word)?;
        if split.len() != 1 || split[0] != word {
            return Err(format!(
                "\"{word}\" cannot be one token: it is split into \"{}\"",
                split.join("\", \"")
            ));
        }
        if seen.insert(word.to_string()) {
            known.push(word.to_string());
        }
    }
    if known.len() > options.vocabulary {
        return Err(format!(
            "a vocabulary of {} is too small: special tokens, characters and whole words are {}",
            options.vocabulary,
            known.len()
        ));
    }

    let trainer = BpeTrainerBuilder::new()
        .vocab_size(options.vocabulary)
        .min_frequency(options.min_frequency)
        .continuing_subword_prefix(PREFIX.to_string())
        .special_tokens(
            known
                .iter()
                .map(|token| AddedToken::from(token.as_str(), true))
                .collect(),
        )
        .show_progress(false)
        .build();
    let counts: AHashMap<CompactString, u64> = counts
        .iter()
        .map(|(word, &count)| (CompactString::from(word), count))
        .collect();
    let mut pieces = BPE::default();
    trainer
        .do_train(&counts, &mut pieces)
        .map_err(|e| e.to_string())?;

    let mut tokenizer = Tokenizer::new(WordPiece::from_bpe(&pieces));
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|e| e.to_string())?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(
        ("[SEP]".to_string(), 3),
        ("[CLS]".to_string(), 2),
    )));
    tokenizer.with_decoder(Some(WordPieceDecoder::default()));
    tokenizer
        .add_special_tokens(SPECIAL_TOKENS.map(|token| AddedToken::from(token, true)))
        .map_err(|e| e.to_string())?;
    tokenizer.to_string(true).map_err(|e| e.to_string())
}

/// # Safety
/// Pointers and lengths describe readable memory; `error` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_train_wordpiece(
    corpus: *const u8,
    corpus_size: usize,
    whole_words: *const u8,
    whole_words_size: usize,
    vocabulary: usize,
    min_frequency: u64,
    limit_alphabet: usize,
    lowercase: bool,
    error: *mut *mut c_char,
) -> *mut c_char {
    guarded(error, || {
        let options = Options {
            vocabulary,
            min_frequency,
            limit_alphabet,
            lowercase,
        };
        let lines = text(corpus, corpus_size)?.lines();
        train_wordpiece(
            lines,
            text(whole_words, whole_words_size)?.lines(),
            &options,
        )
    })
    .map_or(std::ptr::null_mut(), |t| to_c(&t))
}
