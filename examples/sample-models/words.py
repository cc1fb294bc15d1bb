"""The words and pieces of words that tiny:text has a vector for."""

from __future__ import annotations

import re
import unicodedata

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

# The teacher's vocabulary is in the order of frequency.
ENGLISH_WORDS = 11_000
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# Endings of English and Spanish words: with them a form that nobody taught is read as the word and its ending.
ENDINGS = (
    "s es ed ing er ers ly y ness ment ion ions al able less ful est o a os as ado ada ados adas ido ida idos idas ando iendo ar ir"
    " dor dora dores cion ciones mente ito ita itos itas illo illa ero era eros eras ista oso osa n r do da"
).split()


def plain(text: str) -> str:
    """As the tokenizer has it: lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")


def vocabulary(of_teacher: dict[str, int], texts: list[str]) -> Tokenizer:
    """The teacher's most frequent words, every word of the texts, Spanish ones among them, endings and letters."""
    known = sorted(of_teacher, key=of_teacher.get)
    is_word = re.compile(r"[a-z0-9]{2,}").fullmatch
    english = [word for word in known if is_word(word)][:ENGLISH_WORDS]
    letters = [letter for letter in known if len(letter) == 1 and (letter.isascii() or letter in "¿¡€«»–—…")]
    letters = list(dict.fromkeys([*letters, *LETTERS]))
    pieces = [f"##{piece}" for piece in (*LETTERS, *ENDINGS)]
    ours = sorted({word for text in texts for word in re.findall(r"[a-z0-9]+", plain(text)) if len(word) > 1})
    tokens = list(dict.fromkeys(["[UNK]", *letters, *pieces, *english, *ours]))
    inner = Tokenizer(models.WordPiece({token: place for place, token in enumerate(tokens)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return inner
