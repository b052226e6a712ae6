"""Sentences that are not understood without the one before: they open with what refers to it.

English, and a matter of the opening words alone: nothing is resolved. In doubt a sentence stands
for itself.
"""

import re

_CONNECTIVES = (
    "however|therefore|thus|hence|moreover|furthermore|consequently|nevertheless|nonetheless|"
    "otherwise|instead|additionally|similarly|likewise|conversely|accordingly|subsequently|"
    "meanwhile|afterwards?|besides|yet|but|and|or|nor|so|then|also|still|rather|alternatively|"
    "as a result|as a consequence|in addition|in contrast|by contrast|on the contrary|"
    "on the other hand|in other words|in particular|for example|for instance|for this reason|"
    "because of this|despite this|after that|that is why|at the same time|in turn|in this way|"
    "in that case|in this case"
)
_PRONOUNS = (
    "this|that|these|those|it|they|he|she|its|their|his|her|both|neither|such|the former|"
    "the latter|the same"
)
# Of a document or its part, not of a sentence: "this paper", "in this section".
_OF_ITSELF = (
    "paper|article|work|study|thesis|report|chapter|section|document|book|essay|survey|review|"
    "agreement|contract|act|bill|decision|opinion|appendix|table|figure|year|week|month|morning|"
    "afternoon|evening|quarter|meeting"
)
_SPACED = r"\s+"
_OPENING = re.compile(
    rf"""[\s"'\u2018\u201c(\[\u2013\u2014-]*
    (?: (?:{_CONNECTIVES.replace(" ", _SPACED)})\b(?!\s+far\b)
      | (?!(?:this|these)\s+(?:{_OF_ITSELF})s?\b)
        # "It is clear that ...", "It was decided to ...": nothing is meant by it.
        (?!it\s+(?:is|was|has\s+been|seems|appears|would\s+be|will\s+be)\s+(?:\w+\s+){{0,3}}
           (?:that|to|whether|if)\b)
        (?:{_PRONOUNS.replace(" ", _SPACED)})\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def needs_the_one_before(sentence: str) -> bool:
    """Whether a sentence opens with a connective or a pronoun that refers to what was said."""
    return _OPENING.match(sentence) is not None
