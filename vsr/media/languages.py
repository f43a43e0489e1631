"""Language codes: two ISO 639-2 codes for one language, and QuickTime's own list.

Twenty languages have a bibliographic and a terminological code ("ger", "deu"). FFmpeg's mov muxer knows neither kind but a
list of QuickTime's (`mov_mdhd_language_map`), with one code for each language and a few of its own, and drops all others
without a word. mp4 and Matroska hold any code; FFmpeg reads back what was written.
"""

from __future__ import annotations

_PAIRS = (  # bibliographic/terminological
    "alb/sqi arm/hye baq/eus bur/mya chi/zho cze/ces dut/nld fre/fra geo/kat ger/deu gre/ell ice/isl mac/mkd mao/mri may/msa "
    "per/fas rum/ron slo/slk tib/bod wel/cym"
)
_BIBLIOGRAPHIC = {t: b for b, t in (pair.split("/") for pair in _PAIRS.split())}
_TERMINOLOGICAL = {b: t for t, b in _BIBLIOGRAPHIC.items()}
_QUICKTIME = {"swe": "sve", "hrv": "hr ", "srp": "sr ", "fao": "fo ", "pan": "pa ", "gle": "iri"}
_ISO = {own: code for code, own in _QUICKTIME.items()}
_MOV_LIST = (
    "eng fra ger ita dut spa dan por nor heb jpn ara fin gre ice mlt tur chi urd hin tha kor lit pol hun est lav rus alb ron ces "
    "slk slv yid mac bul ukr bel uzb kaz aze arm geo mol kir tgk tuk mon pus kur kas snd tib nep san mar ben asm guj ori mal kan "
    "tam tel bur khm lao vie ind tgl may amh tir orm som swa run kin nya mlg epo wel baq cat lat que grn aym tat uig dzo jav per "
    "und"
)
_MOV = frozenset(_ISO) | frozenset(_MOV_LIST.split())


def language_for(code: str, muxer: str) -> str:
    """The code that a muxer takes for the language of `code`; `code` itself where it takes none, or any."""
    code = _ISO.get(code, code)
    if muxer != "mov":
        return code
    forms = (code, _BIBLIOGRAPHIC.get(code), _TERMINOLOGICAL.get(code), _QUICKTIME.get(code))
    return next((form for form in forms if form in _MOV), code)


def holds_language(code: str, muxer: str) -> bool:
    """Does the muxer keep this language? Of mov's list as measured; of others true for every three-letter code."""
    return muxer != "mov" or not code or language_for(code, muxer) in _MOV


def one_language(code: str) -> str:
    """The same code for both of a language's; "" for none."""
    code = _ISO.get(code, code)
    return "" if code == "und" else _BIBLIOGRAPHIC.get(code, code)
