"""Known answers are a pure function of the prompt."""

import pytest

from dplaunch.node.rehearsal.answers import BadPromptError, answer, chat_prompt, completion_prompts


@pytest.mark.parametrize(
    ("words", "tokens", "text"),
    [(["a", "b"], 5, "a b a b a"), (["a", "b", "c"], 2, "a b"), (["x"], 1, "x")],
)
def test_words_are_repeated_or_cut(words, tokens, text):
    assert "".join(answer(words, tokens)) == text
    assert len(answer(words, tokens)) == tokens


def test_other_manners():
    assert "".join(answer(["a"], 3, "empty")) == ""
    assert "".join(answer(["a"], 3, "garbage")).isascii() is False


@pytest.mark.parametrize("prompt", ["", "  ", [], None, {"a": 1}, [""]])
def test_no_prompt_is_refused(prompt):
    with pytest.raises(BadPromptError):
        completion_prompts(prompt)


def test_several_prompts():
    assert [prompt.words for prompt in completion_prompts(["a b", [1, 2]])] == [["a", "b"], ["1", "2"]]


@pytest.mark.parametrize("messages", [None, [], [{"role": "user", "content": ""}], "x"])
def test_no_messages_are_refused(messages):
    with pytest.raises(BadPromptError):
        chat_prompt(messages)


def test_all_messages_are_counted():
    prompt = chat_prompt([{"role": "system", "content": "a b"}, {"role": "user", "content": "c"}, "odd"])
    assert (prompt.words, prompt.tokens) == (["c"], 3)
