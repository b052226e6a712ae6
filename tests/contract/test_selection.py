"""Ways to select sentences: limits are kept, places are right, and rows say who speaks."""

import pytest
from commands import read_jsonl, refuse, succeed, write_jsonl

import hierbert

DIALOGUE = "\n".join(
    [
        "Anna: We open the meeting of the board. The budget of the year is too small for the plan.",
        "Ben Okri: I see the numbers of the budget here. They show a loss. It is of two millions.",
        "Anna: The plan of the year was too large. However, the board has seen the plan before.",
        "Ben Okri: We vote on the budget then. The vote of the board is on the plan of the year.",
    ]
)
PROSE = "The court heard the appeal of the state. However, it was late. This was decided in May. "
SIZES = {
    "max_words": lambda text: len(text.split()),
    "max_characters": len,
    "max_sentences": lambda text: len(text.split("\n")),
}


@pytest.fixture(scope="module")
def summarizer():
    return hierbert.HierBert.summarizer()


@pytest.mark.parametrize("selection", ["greedy", "knapsack"])
@pytest.mark.parametrize("redundancy", [0.0, 0.5])
def test_no_way_of_selection_passes_a_limit_or_loses_a_place(
    summarizer, selection, redundancy
) -> None:
    more = {"include_antecedent": True, "keep_speaker": True, "redundancy": redundancy}
    more |= {"selection": selection, "min_words_per_sentence": 0}
    same = "The same is said again here. " * 9
    for text in (DIALOGUE, PROSE * 3, same, "One sentence is all.", "", "word " * 80):
        for unit, size in SIZES.items():
            for limit in (1, 3, 12, 40):
                (answer,) = summarizer.summarize(text, **{unit: limit}, **more)
                assert bool(answer.summary) == bool(text)
                assert size(answer.summary) <= limit or answer.over_limit
                for one in answer.sentences:
                    assert text[one.start : one.end] == one.text


def test_a_summary_of_a_dialogue_says_who_speaks(summarizer, tmp_path) -> None:
    """Names are counted, and the row says where they stand; a turn's first sentence has its own."""
    write_jsonl(tmp_path / "in.jsonl", [{"text": DIALOGUE}, {"text": PROSE}])
    arguments = (tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--keep-speaker")
    succeed("hierbert", "summarize", *arguments, "--max-words", "60", here=True)
    dialogue, prose = read_jsonl(tmp_path / "out.jsonl")
    assert set(prose["speakers"]) == {None}
    lines = dialogue["summary"].split("\n")
    assert len(lines) == len(dialogue["speakers"]) == len(dialogue["sentences"]) > 2
    for line, who, one in zip(lines, dialogue["speakers"], dialogue["sentences"], strict=True):
        name = DIALOGUE[who["start"] : who["end"]]
        assert name == who["text"] and name in ("Anna", "Ben Okri")
        turn = DIALOGUE[: one["end"]].split("\n")[-1]
        assert turn.startswith(f"{name}: ")
        opens = one["text"].startswith(name)
        assert line == (one["text"] if opens else f"{name}: {one['text']}")
    for flag, name in (("--keep-speaker", "speakers"), ("--sentence-kinds", "sentence_kinds")):
        asked = ("hierbert", "summarize", tmp_path / "in.jsonl", "--output", tmp_path / "no.jsonl")
        error = refuse(*asked, flag, "--keep-columns", name, here=True)
        assert f"{name}=NEW" in error and not (tmp_path / "no.jsonl").exists()
    (plain,) = summarizer.summarize(DIALOGUE, max_words=60)
    assert "speakers" not in plain.others


def test_a_sentence_that_needs_the_one_before_comes_with_it_or_not_at_all(summarizer) -> None:
    given = {"redundancy": 0.0, "min_words_per_sentence": 0}
    opened = ("However", "They", "It")
    for text in (DIALOGUE.replace("\n", " "), PROSE):
        for limit in range(6, 60, 3):
            (answer,) = summarizer.summarize(
                text, max_words=limit, include_antecedent=True, **given
            )
            ends = {one.end for one in answer.sentences}
            for one in answer.sentences:
                if one.text.startswith(opened) or one.text.startswith("This"):
                    assert any(text[end : one.start].strip() == "" for end in ends), (limit, one)
    # The whole document is the whole document.
    (whole,) = summarizer.summarize(PROSE, ratio=1.0, include_antecedent=True, keep_speaker=True)
    assert whole.summary.split() == PROSE.split()


def test_a_name_costs_its_tokens(encoders) -> None:
    """With an encoder that has real tokens; a limit of tokens counts names too."""
    summarizer = hierbert.HierBert.summarizer(encoders["bert"])
    for limit in (12, 20, 40, 60):
        (answer,) = summarizer.summarize(
            DIALOGUE, max_tokens=limit, keep_speaker=True, min_words_per_sentence=0
        )
        tokens = summarizer.processor.tokenizer(answer.summary, add_special_tokens=False)
        assert 0 < len(tokens["input_ids"]) <= limit
