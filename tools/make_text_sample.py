#!/usr/bin/env python3
"""Makes the sample of texts that ships with a model: texts/P*.jsonl, corpus.txt and SOURCES.

    make_text_sample.py DATA MODEL

DATA holds facts/sentences-*.tsv.xz and wiki/wiki-*.txt.xz (lines as in docs/formats.md, "Distant
texts"), MODEL is the folder with facts.jsonl. Only Wikipedia text is taken: of the sentences those
with the source wikiA or wikiB. The same input gives the same bytes: every choice is the start of an
order by a hash.
"""

import argparse
import hashlib
import json
import lzma
import re
from collections import defaultdict
from pathlib import Path

FACTS_PER_RELATION = 20
TEXTS_PER_LIST = 4
CORPUS_SENTENCES = 3000
WORDS = range(5, 41)  # of a sentence
# The trainer read the first 30 MB of wiki-00: these hold articles that it has not seen.
SUBJECT_FILES = ["wiki-02.txt.xz", "wiki-03.txt.xz", "wiki-04.txt.xz", "wiki-05.txt.xz"]
CORPUS_FILES = ["wiki-06.txt.xz", "wiki-07.txt.xz"]


def order(*parts):
    return hashlib.sha256("\0".join(parts).encode()).digest()


def first(items, count, *purpose, key=str):
    return sorted(items, key=lambda item: order(*purpose, key(item)))[:count]


def names(text, name):
    """Does the text hold the name as a whole word, whatever its case?"""
    low, want = text.lower(), name.lower()
    at = low.find(want)
    while at >= 0:
        end = at + len(want)
        if not (at and low[at - 1].isalnum()) and not (end < len(low) and low[end].isalnum()):
            return True
        at = low.find(want, at + 1)
    return False


def outside(text, subject, obj):
    """Does the text hold the object apart from the subject?"""
    return names(re.sub(re.escape(subject), " ", text, flags=re.IGNORECASE), obj)


def fits(sentence):
    return len(sentence.split()) in WORDS and "[MASK]" not in sentence


def sentences(paragraph):
    return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)


def articles(path):
    """(title, paragraphs) of a wiki file."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        title, paragraphs = None, []
        for line in lines:
            line = line.rstrip("\n")
            if not line:
                if title is not None:
                    yield title, paragraphs
                title, paragraphs = None, []
            elif title is None:
                title = line
            else:
                paragraphs.append(line)
        if title is not None:
            yield title, paragraphs


def read_facts(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            fact = json.loads(line)
            yield fact["relation"], fact["subject"], fact["object"]


def read_rows(data):
    """(relations, subject, object, sentence) of the sentences that come from Wikipedia."""
    for path in sorted((data / "facts").glob("sentences-*.tsv.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                relations, subject, obj, sentence, source = line.rstrip("\n").split("\t")
                if source in ("wikiA", "wikiB"):
                    yield relations.split(","), subject, obj, sentence


def subject_sentences(data, subjects, trained):
    """subject -> [(sentence, article title)], found by the subject's first word."""
    by_word = defaultdict(list)
    for subject in subjects:
        by_word[re.findall(r"\w+", subject.lower())[0]].append(subject)
    found = defaultdict(list)
    for name in SUBJECT_FILES:
        for title, paragraphs in articles(data / "wiki" / name):
            for paragraph in paragraphs:
                if by_word.keys().isdisjoint(re.findall(r"\w+", paragraph.lower())):
                    continue
                for sentence in sentences(paragraph):
                    if not fits(sentence) or sentence in trained:
                        continue
                    for word in set(re.findall(r"\w+", sentence.lower())):
                        for subject in by_word.get(word, ()):
                            if len(found[subject]) < 50 and subject in sentence and \
                                    names(sentence, subject):
                                found[subject].append((sentence, title))
    return found


def corpus(data, trained):
    """(sentence, title): at most one of an article, as long as there are enough articles."""
    chosen = []
    for name in CORPUS_FILES:
        for title, paragraphs in articles(data / "wiki" / name):
            usable = [s for paragraph in paragraphs for s in sentences(paragraph)
                      if fits(s) and s[0].isupper() and s[-1] in ".!?" and s not in trained]
            chosen += [(s, title) for s in first(usable, 1, "corpus", title)]
    return first(chosen, CORPUS_SENTENCES, "corpus", key=lambda pair: pair[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()

    facts = list(dict.fromkeys(read_facts(options.model / "facts.jsonl")))
    wanted = set(facts)
    both = defaultdict(list)
    by_subject = defaultdict(list)
    trained = set()  # may have been: the trainer reads such sentences
    for relations, subject, obj, sentence in read_rows(options.data):
        trained.add(sentence)
        if not fits(sentence):
            continue
        by_subject[subject].append((sentence, ""))
        for relation in relations:
            fact = (relation, subject, obj)
            if fact in wanted and outside(sentence, subject, obj):
                both[fact].append(sentence)
    # Sentences of articles that the trainer has not seen come first.
    unseen = subject_sentences(options.data, {fact[1] for fact in facts if fact in both}, trained)
    head = {}
    for fact in both:
        _, subject, obj = fact
        for source in (unseen[subject], by_subject[subject]):
            usable = dict(pair for pair in source if not names(pair[0], obj))
            if usable:
                head[fact] = first(usable.items(), TEXTS_PER_LIST, "head", *fact,
                                   key=lambda pair: pair[0])
                break

    texts = options.model / "texts"
    texts.mkdir(exist_ok=True)
    for old in texts.glob("*.jsonl"):
        old.unlink()
    titles = set()
    counts = {"facts": 0, "both": 0, "head": 0, "trained": 0}
    for relation in sorted({fact[0] for fact in facts}):
        usable = [fact for fact in facts if fact[0] == relation and fact in head]
        lines = []
        for fact in sorted(first(usable, FACTS_PER_RELATION, "facts", key="\0".join)):
            titles.update(title for _, title in head[fact] if title)
            with_both = first(set(both[fact]), TEXTS_PER_LIST, "both", *fact)
            with_subject = [sentence for sentence, _ in head[fact]]
            counts["facts"] += 1
            counts["both"] += len(with_both)
            counts["head"] += len(with_subject)
            counts["trained"] += sum(1 for _, title in head[fact] if not title)
            lines.append(json.dumps({"relation": relation, "subject": fact[1], "object": fact[2],
                                     "with_both": with_both, "with_subject": with_subject},
                                    ensure_ascii=False))
        if lines:
            (texts / f"{relation}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    chosen = corpus(options.data, trained)
    (options.model / "corpus.txt").write_text("".join(s + "\n" for s, _ in chosen), encoding="utf-8")
    (texts / "SOURCES").write_text(
        "Articles of the English Wikipedia that sentences of corpus.txt are from:\n\n"
        + "".join(f"{title}\n" for title in sorted({title for _, title in chosen}))
        + "\nArticles that texts with the subject alone (with_subject) are from:\n\n"
        + "".join(f"{title}\n" for title in sorted(titles))
        + "\nThe extracts that all other sentences are from do not name their articles.\n",
        encoding="utf-8")
    print(counts, f"{len(chosen)} sentences of corpus.txt")


if __name__ == "__main__":
    main()
