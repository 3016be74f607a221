"""The recordings that accuracy is measured on, chosen before anything was transcribed, and how texts are compared."""

import hashlib
import re
import wave
from collections import namedtuple
from pathlib import Path

from num2words import num2words
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT / "target/weights/speech"
LANGUAGES = {"en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "ru": "Russian"}
BANDS = (8, 16)

# Prompts are taken in the order of the SHA-256 sum of `SEED:LANGUAGE:NAME`.
SEED = 1
WORDS = (3, 25)
SECONDS = (1, 10)

# Stage directions, quotations, and numbers, which can be said in several ways. A question mark
# between blanks stands for a letter that was lost.
UNCLEAR = re.compile(r"""[][(){}<>*/=0-9"«»“”]| \? """)

# As page and reader need it.
RULES = f"""\
- **Recordings**: the prompts of Debian's `asterisk-core-sounds-*` that exist at 8 and at 16 kHz, last
  {SECONDS[0]} to {SECONDS[1]} s and have {WORDS[0]} to {WORDS[1]} words. Prompts are left out if their text has a figure, a
  bracket, a quotation mark, `*`, `/`, `=` or a lost letter, or is that of another prompt. Digits, letters
  and other sounds in folders of their own are no prompts. Of the rest, those come first whose
  name has the smallest SHA-256 sum of `{SEED}:LANGUAGE:NAME`. The rules were fixed before anything
  was transcribed. Each language is one speaker. Some texts are not quite what is said; these count as
  errors of all engines alike.
- **Texts**: English by Whisper's own rules (`EnglishTextNormalizer` of whisper-normalizer: case,
  punctuation, contractions, spelling of British and American, numbers as figures, no "um"). Other
  languages: figures become words (num2words), then Whisper's rules for any language
  (`BasicTextNormalizer`): case and punctuation. Accents and other marks are taken away, because
  half of the Spanish texts have none."""

Prompt = namedtuple("Prompt", "language name text")


def seconds(file):
    with wave.open(str(file)) as opened:
        return opened.getnframes() / opened.getframerate()


def file_of(prompt, band):
    return SPEECH / prompt.language / str(band) / f"{prompt.name}.wav"


def prompts(language, count):
    """The first `count` prompts of a language."""
    found, texts = [], set()
    for line in (SPEECH / language / "texts").read_text(encoding="utf-8").splitlines():
        if not (parts := re.fullmatch(r"([\w-]+):\s*(.+?)\s*", line)):
            continue
        prompt = Prompt(language, *parts.groups())
        words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", prompt.text)
        files = [file_of(prompt, band) for band in BANDS]
        plain = " ".join(words).lower()
        if (
            UNCLEAR.search(prompt.text)
            or not WORDS[0] <= len(words) <= WORDS[1]
            or plain in texts
            or not all(file.exists() and SECONDS[0] <= seconds(file) <= SECONDS[1] for file in files)
        ):
            continue
        texts.add(plain)
        found.append(prompt)
    order = lambda prompt: hashlib.sha256(f"{SEED}:{language}:{prompt.name}".encode()).hexdigest()
    return sorted(found, key=order)[:count]


_english, _other = EnglishTextNormalizer(), BasicTextNormalizer(remove_diacritics=True)


def plain(language, text):
    """The text as it is compared."""
    if language == "en":
        return _english(text)
    in_words = lambda figure: f" {num2words(int(figure[0]), lang=language)} "
    return " ".join(_other(re.sub(r"\d{1,9}", in_words, text)).split())
