"""Tests of the sentence splitter: tables of cases, the invariants, and adversarial lengths."""

import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


def assert_invariants(text: str) -> None:
    position = 0
    for start, end in split_sentences(text):
        assert position <= start < end <= len(text)
        gap = text[position:start]
        assert gap == "" or gap.isspace()
        assert not text[start].isspace() and not text[end - 1].isspace()
        position = end
    rest = text[position:]
    assert rest == "" or rest.isspace()


# Each case is a text in which "|" marks the expected boundaries; with "|" removed it is the input.
ONE_LINE_CASES = [
    # plain
    "He left. |She stayed. |They met?! |Yes! |No one knew.",
    "He sells pens etc... |Then he left. |Ask the Prof.! |Is it Dr.? |It is.",
    "One sentence without an end",
    # no sentence starts with a mark
    "He left Yahoo! & Partners. |She stayed.",
    "Is it so? , he asked. |Who came? : nobody. |It grew by 5. % of them fell.",
    "  Padded by spaces.   |And by tabs.\t",
    # titles and other abbreviations that never end a sentence
    "Dr. Smith met Mr. Jones and Mrs. Brown. |They talked.",
    "Use a filter, e.g. Gaussian noise, i.e. Something simple. |It works.",
    "See the survey (cf. Miller) vs. Brown. |It is long.",
    "In Roe v. Wade the Court held so. |It was later overruled.",
    "St. Paul is a city. |So is Minneapolis.",
    # numbered things
    "As shown in Fig. 3 and Eq. (5), it holds. |See Sec. 2 and Art. IV for more.",
    "It was ranked No. 1 in the world. |See p. 5 and pp. 7-9.",
    "He said no. |The answer was final. |I said no. |I, for one, agree.",
    "See Vol. 3, No. 2, Ch. 4. |Then stop.",
    # companies, countries, times: the next word decides
    "He joined Apple Inc. Chief executives like him are rare.",
    "He joined Apple Inc. |The company grew.",
    "Foo Ltd. and Bar Corp. merged. |The deal closed.",
    "He moved to the U.S. |He lives there now.",
    "The U.S. Senate met at 9 a.m. on Monday. |It adjourned at 5 p.m. |They went home.",
    "Apples, pears, etc. are fruit. |We sell nuts, seeds, etc. |Ask us.",
    "She has a Ph.D. in physics. |He has none.",
    # months
    "On Jan. 5 it rained. |On Dec. 24, 2020 it snowed.",
    "He came on Sept. 11. |Nobody saw him.",
    # initials
    "J. R. R. Tolkien wrote it. |C. S. Lewis read it.",
    "It was written by J. Smith and A. A. Milne. |The book sold well.",
    "So did I. |We all went.",
    # decimals, money, versions
    "Pi is 3.14 and costs $1.5 million. |Version 2.0.1 came later.",
    "It fell to 5. |Then it rose to 7.5 again.",
    "It rose in 2010. |In 2011 it fell.",
    "Sales fell. |3 people left. |$5 million was lost.",
    # et al.
    "As Smith et al. (2010) showed, it works. |Jones et al., 2010 disagree.",
    "This was shown by Smith et al. |We follow them.",
    "See Smith et al. 2010 for this. |It is clear.",
    # URLs and e-mail
    "Visit www.example.com/a.b?c=d! |Mail to jo.doe@mail.example.org. |Thanks.",
    "See https://example.org/x.html. |It is there.",
    "Run setup.py first. |Then Node.js starts.",
    # ellipses and runs
    "Well... maybe not. |It ended... |Nobody came.",
    "He waited… and waited. |Then… |Nothing.",
    "我……我不知道。|他想……回家。|“天黑了……”他说。|算了吧……|他不来了。",
    "What?! |Really!!! |Yes?",
    "What ? ! |Really ! ! |So it goes . . . |The end .",
    # quotes and brackets behind the terminator
    '"He left." |She stayed.',
    "“He left.” |“She stayed!” |‘Me too.’ |End.",
    '"Why?" she asked. |"Because," he said.',
    "He left (she stayed). |They met. |(Nobody saw it.) |Then it rained.",
    "He left (see Fig. 3). |(She stayed.) |[They met.] |The end.",
    "„Er ging.“ |Sie blieb. |«Il part.» |Elle reste.",
    "It is known.[12] |The proof is short.",
    "**It is bold.** |The next is not.",
    "The firm (Foo Inc.) The Great is odd.",
    # parentheses
    "The method (see above) works. |The other (2010) does not.",
    "Some (e.g. the first) work. |Others do not.",
    # enumerations within a line
    "1. First comes this. |2. Then comes that.",
    "(a) First comes this. |(b) Then comes that.",
    "a) First comes this. |b) Then comes that.",
    "He came. |(He left.) |(iv) The rest. |See Fig. (b) for more.",
    "II. Background of the case. |Section 2.1. Definitions follow.",
    "The steps are as follows: |• Read the text. |• Cut it; |• Stop.",
    # tokenized text
    "In this paper , we explore it . |The results ( Smith et al. , 2010 ) are good .",
    # mixed-case first words
    "They sell phones. |iPhone sales rose. |eBay fell.",
    # German ordinals and abbreviations
    "Am 3. Oktober war es z.B. Herbst. |Dann kam der Winter.",
]


LOWER_CASE_CASES = [
    "the film is good . |it ends well .",
    "what 's the deal ? |watch the movie and find out . . . you know !",
    'she said " i left . " |then it ended .',
    "it stars mr . bean and walter j . hill . |it is set in the u . s . army .",
    "it costs $ 4 . 50 at most . |nobody pays ( ever ! ) for it .",
    "i like it. |it is good, e.g. the end. |dr. evil is in it.",
]


OTHER_SCRIPTS = [
    "他走了。|她留下了！|真的吗？|是的。",
    "他说：“走吧。”|她留下了。",
    "他走了。|“她留下。”|好。",
    '他走了。|"她留下。"|好。',
    "「行こう。」と彼は言った。|雨だった。|「はい！」|彼は笑った。",
    "圆周率是３．１４。|好。",
    "वह गया। |वह रुकी॥ |क्यों? |हाँ।",
    "वह गया।|वह रुकी।",
    "هل ذهب؟ |نعم. |بقيت هي!",
    "وہ گیا۔ |وہ رہی۔",
    "Նա գնաց։ |Նա մնաց։",
    "ሄደ። |ቀረች።",
    "သူသွားသည်။ |သူမနေသည်။",
    "គាត់ទៅ។ |នាងនៅ។",
    "Он ушёл. |Она осталась. |А. С. Пушкин писал стихи.",
    "Έφυγε. |Έμεινε.",
    "그는 갔다. |그녀는 남았다.",
    # no terminators: only wide spaces and line breaks
    "เขาไปแล้ว เธออยู่ที่นี่ ฝนตก",
    "เขาไปแล้ว  |เธออยู่ที่นี่ ฝนตก\n|วันนี้",
    "ລາວໄປແລ້ວ  |ນາງຢູ່",
]


WEAK_WITHOUT_SPACE = [
    # between ideographs, kana and syllables
    "他说很好!|我们走吧.|你呢?|价格3.5元.",
    "我买了iPhone.|我很高兴!|“真的吗?”他问.",
    "雨です!|彼は笑った.|バスは?|来ない.",
    "「はい!」と彼は言った.|雨だった.",
    "一.概述和背景.|二.方法.",
    "他等了...没有人来.|他走了.",
    "여기서 끝났다.|그는 갔다!|그녀는 남았다.",
    "ذهب الرجل.|ثم عاد.",
    # fused sentences
    "It was late.|The end came.|Nobody knew.",
    "He asked why?|Nobody knew!|So they left.",
    "He died in 1962.|During his life he wrote.",
    'She said "no."|The man left.',
    "It is known (see above).|However, it is false.|Robinson was there.",
    "It is known.[12]|The proof is short.",
    "Es war spät.|Das Ende kam.",
    # behind a number, with or without a unit, a date of a law, a capital; before one word alone
    "It is 5.|The end came.|It cost $7.5.|However, it rose by 12,000km.|They left.",
    "He left at 5 p.m.|Then he saw the U.S.|The end was COVID-19.|This we know.",
    "Was it 5?|The end came.|It took a lot.|You?|It was the end.|Yes!|So did I.|We all went.",
    "Both shall do: 3.The first;   4.The second, e.g.The third.",
    "Было поздно.|Никто не пришёл.",
    "See example.com, Node.js, setup.Py and ASP.NET in the U.S.A or e.g.this one.",
    "Call torch.nn.Linear or System.out.println(x) on a datetime.Date with v1.2.B as usual.",
    "Mr.Smith met Dr.Lee at St.Paul and J.Doe at a.Doe@mail.Example.org today.",
    "Get https://example.org/a.B?Id=3 or x.Y of it.",
]

QUOTES = [
    *(
        pattern.replace("_", space)
        for space in (" ", "\u00a0", "\u202f")
        for pattern in (
            "«_Oui._»| Il sortit.| «_Non_!_»| Elle resta.",
            "«_Quoi_?_» dit-il.| Il rit.",
            "«_Il dit : ‹_Oui._›_»| Elle rit.",
            "‹_Oui._›| Il sortit.",
            "»_Ja._«| Er ging.| »_Nein._«| Sie blieb.",
            "„_Ja._“| Er ging.| „_Nein._”| Sie blieb.",
            "“_Yes._”| He left.| “_No._”| She stayed.",
            "‚_Ja._‘| Er ging.| ‘_Yes._’| He left.",
            "『_はい。_』|彼は笑った。|「_いいえ。_」|雨だった。",
        )
    ),
    "»Ja.« |Er ging. |»Nein.« |Sie blieb.",
    "» Ja. » |Han gick. |» Nej. » |Hon gick.",
    "«Кто там?» — спросила она. |Никто не ответил.",
]

BRACKETS = [
    "It was held (9th Cir. 1995) and (see Foo. The court) affirmed. |The end.",
    "He left (she wept. Nobody knew. It rained) and slept. |They met.",
    "It is (a [b. Then c. D] e. F) so. |It ended.",
    "他走了（她说。没有人）以后。|好。",
    "I am sad :( today. |He left. |I am glad :) today.",
    "An open ( bracket. |It never closes. " + "|He walked on and on to the town. " * 8,
    "He read a) the first. |Then b) the second (and c. The third).",
]

LAW = [
    "The claim rests on Del. Code Ann. tit. 8, § 102. |It says so.",
    "See 12 Am. Jur. 2d Contracts § 5. |It is settled. |At 5 am. |Here I am. |He is late.",
    "It was Smith v. Jones, 124 F.3d 7 (9th Cir. 1995). |It was reversed.",
    "Under Fed. R. Civ. P. 12(b)(6) and Pub. L. No. 111-148, 124 Stat. 119, it holds. |It ended.",
    "See Cal. Penal Code, 12 Cal. App. 4th 5, 7 Fed. Reg. 12, and Minn. Stat. §80C. |It ended.",
    "QUANTICO, Va. — The president spoke. |He lived in Va. |The state is old.",
    "GOP Sens. Brown and Gov. Hill left. |See Zbl. 12, 3 and Ark. 9, 7.",
    "I saw Bob. |3 people left. |He has the Code. |9.4 Waivers follow. |It is a NP. |Then stop.",
]

LANGUAGES = [
    "Bkz. s. 5 ve şek. 3. |Bu doğru.",
    "Im 2. Weltkrieg und am 3. Tag war Krieg. |Sie war 12. |Danach war er 45. |Alle gingen.",
    "Dr. med. Klein, Dr. rer. nat. Weiß und die Hauptstr. 5, d. h. das Haus. |Er ging.",
    "Los EE. UU. ganaron. |Vive en EE. UU. |El señor y las FF. AA. también.",
    "MM. Durand et Petit. |Selon l'art. 5 de l'acte.",
    "В 1990 г. Москва росла. |Он умер в 1990 г. |Она жила в г. Тула и т. д. |Он ушёл.",
    "W 1990 r. Polska rosła. |Zmarł w 1990 r. |Polska rosła.",
    "TS. Nguyễn và PGS. Trần ở TP. Huế. |Họ về.",
    "Prof. Dr. Yılmaz ve Doç. Kaya geldi, bkz. Şekil 3. |Sonra gittiler.",
    "ดร. สมชาย เกิด พ.ศ. 2500 ที่นี่",
    "Dhr. Jansen, bijv. Piet, kocht brood, kaas enz. |Daarna ging hij.",
    "Bl.a. Olle och t.ex. Nils kom. |De gick hem.",
    "Viz str. 5, obr. 3 a čl. 7 odst. 2. |Pak skončil.",
    "Ο κ. Παπάς είδε π.χ. την εικ. 3 στη σελ. 7. |Μετά έφυγε.",
    # one abbreviation before another, and before the word "number"
    "Das gilt gem. Art. 5 und lt. Nr. 3. |Bitte Tel. Nr. 5, Art. Nr. 7, Best. Nr. 9. |Er las.",
    "Vgl. Rn. 5 und Kap. Abs. 2. |Siehe Anm. Nr. 3. |Danach ging er.",
    "Ustawa z 1997 r. Nr 88, poz. 553. |Zmarł w 1990 r. |Potem rosła.",
    "Закон от 5 мая 1990 г. № 5 действует. |Он умер в 1990 г. |Потом росла.",
    "He said no. |Fig. 5 shows it. |She loves art. |Sec. 5 says so. |They were ok. |Fig. 3 is not.",
    # publishers and editors
    "Lu aux éd. Gallimard, coll. Folio, trad. Dupont. |Voir la nouv. éd. |Le texte est bon.",
    "Smith, 3rd ed. Oxford, 1950. |Wyd. Znak, oprac. Kowalski. |В изд. Наука под ред. Иванова.",
    "He saw Dwayne, a.k.a. The Rock. |It ended.",
    # dates in numbers
    "Narodil se 5. 3. 1990 v Praze. |Dne 12. III. 1990 odešel, od 1. 1. 2014. |Pak nic.",
    "Er kam am 31. 12. |Dann blieb er vom 5. 3. bis zum 7. 3. in Berlin. |Dann ging er.",
    "5. 3. 1990 se narodil. |Pak nic.",
    "It rose from 4 to 5. |3. The third. |He is 12. |3 came.",
    # numbers behind words of no table; measures; hours; names; elisions; ideographs
    "Sales fell. |3 people left. |It cost 5. |He is 80 years old. |15 guests came.",
    "Il prend 2 blstr. 3 fois. |Das ist quadr. 5, durchschn. 3, nach Dorr. |5 blieben.",
    "A stamp is rare. |A stamp. |4. The next is not. |2 men sat. |3.1 Waivers follow.",
    "Рост 5 м. 20 см. |Вес 5 кг. |Длина неизвестна.",
    "He left at 8 p.m. |Dinner was cold. |At 9 a.m. Monday or 8 p.m. Toronto time it rains.",
    "Oak St. |It is far. |We saw St. Paul. |The Balancing Cap. |Cisco pays. |El Cap. Pérez pagó.",
    "Elle dit non.|L'homme partit.|J'ai froid.|C'est tout. |Rock.D'Angelo is a file.",
    "价格100元.|200元太贵.|见图3.2。|“走吗?”他问。|U.S.A.是美国.",
    "वह एम.ए. और बी.कॉम. पास है। |क्या?|हाँ।",
    "The U.S. is big. |It is 30 C. |Nobody came. |See App. B. |The rest is in Sch. H. |Read it.",
    "He came Fri. Jan. 5. |Le lun. 5 janv. il vint. |It is law. |7. Term. |The Term is long.",
    "J. Han and J. Van der Berg met K. He and J. Ma et al. in May. |He left.",
    # small letters between capitals; states; regions behind their names; titles behind titles
    "Hunde u. Katzen und d. Gr. kamen. |Sie wollten 2 TL. Zucker und 3 EL. Mehl im Tee. |Er ging.",
    "He moved to N.Y. |Taxes rose. |The N.J. Democrats say so. |P.R. Evans and N.C. Williams left.",
    "Он из Тульской обл. |Дом стоит в Омской обл. Омского р-на. |Зав. каф. преп. Попов ушёл.",
    "I saw Hand. |5 and more came. |See Hand. 5 and Kor. 7. |The 3. |Then it ended.",
    "Il fait 36 st. C. |Demain 12 st. |Paul rit. |Za art. 5 k.p.c. |Sąd milczy.",
    "Zmarł w 1990 r. (miał 80 lat). |Urt. BGH und wyr. SN kamen. |This is a rule. |NATO won.",
    "بني سنة 1950 م. |هدم بعد ذلك. |مات سنة 44 ق.م. في روما. |ترك كتابا.",
    # who asked, in scripts without small letters; names that end in a mark; closed brackets
    "«هل نمت؟» قالت أمي. |«لا!» صرخ الولد. |«أين؟» |ثم صمت. |«متى؟» |وسأل الشيخ.",
    '"कहाँ?" राजू और सीता ने मुझसे पूछा। |"वहाँ!" वह बोला। |"कब?" |सब चुप थे।',
    "Jeopardy! Corp. and Wham! Ltd. won. |Wow! |Incredible. |Stop! |Co-workers came.",
    "Он родился (в 1990 г.) в Туле. |Имп. Павел и имп. Пётр III. |Где они? |У 5 г. |Почему так?",
    "Ważył 5 kg. |Gdzie jest? |Il pèse 5 kg. |Où est-il allé? |Pesa 5 kg. |Dónde vive?",
    "他出生于1998.|她也是。|Er kam im Jan. |„Nein.“ |—¿Qué? —dijo. |Wróciła.|Ulice spały.",
]


def read_languages() -> dict[str, list[str]]:
    """Texts by language, with marked boundaries."""
    texts: dict[str, list[str]] = {}
    path = Path(__file__).parent / "data" / "languages.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            texts[line[3:]] = language = []
        elif line and not line.startswith("#"):
            language.append(line)
    return texts


@pytest.mark.parametrize("language", read_languages())
def test_nothing_is_cut_wrongly_or_missed_in_twelve_languages(language: str) -> None:
    for line in read_languages()[language]:
        marked = line.removeprefix("? ")  # known faults: they lose the mark when they are mended
        expected = [part.strip() for part in marked.split("|")]
        assert (sentences(marked.replace("|", "")) == expected) is (marked == line), line


CASES = [
    *ONE_LINE_CASES,
    *LOWER_CASE_CASES,
    *OTHER_SCRIPTS,
    *WEAK_WITHOUT_SPACE,
    *QUOTES,
    *BRACKETS,
    *LAW,
    *LANGUAGES,
]


@pytest.mark.parametrize("marked", CASES)
def test_sentences_end_where_a_reader_ends_them(marked: str) -> None:
    expected = [part.strip() for part in marked.split("|")]
    assert sentences(marked.replace("|", "")) == expected


PROSE = (
    "The committee met in the old library on a cold Monday and talked for hours about Dr. Smith "
    "and the plans of the town. Nobody had read the long report, which was printed in very small "
    "letters on grey paper. It was decided that the report should be read aloud. The reading took "
    "until the evening, and when it was over two of the members had left. The others agreed."
)
PROSE_SENTENCES = [
    "The committee met in the old library on a cold Monday and talked for hours about Dr. Smith "
    "and the plans of the town.",
    "Nobody had read the long report, which was printed in very small letters on grey paper.",
    "It was decided that the report should be read aloud.",
    "The reading took until the evening, and when it was over two of the members had left.",
    "The others agreed.",
]


@pytest.mark.parametrize("width", [45, 60, 72, 80])
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\n    "])
def test_wrapped_lines_are_joined(width: int, line_break: str) -> None:
    wrapped = line_break.join(textwrap.wrap(PROSE, width))
    assert [" ".join(s.split()) for s in sentences(wrapped)] == PROSE_SENTENCES


def test_headings_and_items_of_wrapped_text_stand_alone() -> None:
    body = "\n".join(textwrap.wrap(PROSE, 70))
    text = f"1 Introduction\n{body}\n- the first item\n- the second item\n{body}"
    found = [" ".join(s.split()) for s in sentences(text)]
    items = ["- the first item", "- the second item"]
    assert found == ["1 Introduction", *PROSE_SENTENCES, *items, *PROSE_SENTENCES]


def test_names_at_the_start_of_wrapped_lines_begin_no_sentence() -> None:
    parts = [
        "The council heard Anna Miller and Bertha Cooper and Clara Fisher and Dora Smith and Emma "
        "Baker and Frida Potter on the plans of the town.",
        "It was decided that Gerda Weaver and Helen Mason should read the report aloud to Ida.",
    ]
    lines = textwrap.wrap(" ".join(parts), 50)
    assert lines[2].startswith("Frida")
    # Headings are shorter than the wrapped lines, and some of them.
    found = sentences("\n".join(["Minutes", *lines] * 3))
    assert [" ".join(sentence.split()) for sentence in found] == ["Minutes", *parts] * 3


def test_items_behind_a_full_wrapped_line_stand_alone() -> None:
    lines = textwrap.wrap(PROSE, 70)
    assert len(lines[0]) > 60
    text = "\n".join([*lines, lines[0], "(a) one thing", "2. another"])
    assert sentences(text)[-2:] == ["(a) one thing", "2. another"]


WRAPPED = [
    # quoted mail, each depth by itself
    "> The old man went home and\n> slept.| \n> He woke late.",
    "> He left the\n> house in 2019\n> and slept.|\n>\n> She stayed.|\nI do not think so",
    "He wrote:|\n>> I came home|\n> No, he did not|\nAnd I agree.",
    ">   It went on for so long and\n>\t nobody came, not even\n>   the EU\n>   itself.",
    "Er kam in das Dorf und blieb bis zum 5.\n3. 1991 bei ihr. |Dann ging er fort\nund kam nie.",
    "> > We saw the\n> > house.|\n\nNobody did.",
    # a number, a name in capitals, a bracket, a quote; then a small letter
    "The company was founded in the year 2019\nand grew fast.|\nThen it joined the EU\nand left.",
    'It is the function of the so-called "must"\nthat I like (or rather, that he says)\nso well.',
    "In 2019\nit ended.|\nThe man in the\nUnited States left.",
    # a word that goes on
    "It was a long per-\niod of rain.|\nThe Anglo-\nAmerican GOVERN-\nMENT fell, soft\u00ad\nly.",
    # a reference
    "The values are those of the model that we see in Table\n3. |The rest is in the sections of\n"
    "2. |As Fig.\n4 shows, it is so.",
    # what stands alone
    "Shopping list for today|\nflour|\nsugar",
    "Steps to take for\n|1. Read it|\n2. Cut it",
    "anna@example.org (Anna Miller of Berlin)|\nbertha@example.org (Bertha Cooper)",
    "See:|\n```python|\nx = 3|\n```",
    "assert x == 2 ** 256|\nassert y == 2 ** 256|\nassert z == 2 ** 256",
]


@pytest.mark.parametrize("marked", WRAPPED)
def test_a_line_break_in_a_sentence_is_no_end_of_it(marked: str) -> None:
    expected = [part.strip() for part in marked.split("|")]
    assert sentences(marked.replace("|", "")) == expected


def test_quoted_lines_are_wrapped_where_their_own_words_are() -> None:
    for marks in ("> ", ">> ", "> > ", ">"):
        wrapped = "".join(f"{marks}{line}\n" for line in textwrap.wrap(PROSE, 60))
        found = [" ".join(s.replace(">", " ").split()) for s in sentences(f"He wrote:\n{wrapped}")]
        assert found == ["He wrote:", *PROSE_SENTENCES]


def test_a_reference_over_a_line_end_of_wrapped_text_is_no_item() -> None:
    lines = [
        "The committee met in the old library on a cold Monday and see Table",
        "3. The reading took until the evening, and when it was over two of the",
        "members had left. Nobody had read the long report, which was printed in",
        "very small letters on grey paper.",
    ]
    found = [" ".join(s.split()) for s in sentences("\n".join(lines))]
    assert found[0] == f"{lines[0]} 3." and len(found) == 3


def test_one_sentence_a_line_without_regard_to_case_or_abbreviation() -> None:
    lines = ["we grew 3.5% in the U.S.", "that is good.", "Sales rose.", "and so on, Mr.", "Yes."]
    assert sentences("\n".join(lines)) == lines


def test_lower_cased_lines_keep_their_boundaries() -> None:
    lines = ["it is good .", "it ends well !", "the plot , however , is thin", "no one dies ."]
    assert sentences(" \n".join(lines)) == lines


def test_a_lone_quote_at_the_end_of_a_line_closes() -> None:
    lines = ['" it is good .', 'it ends well ! "', 'he " cut it . "', "nobody dies ."]
    assert sentences("\n".join(lines)) == lines


def test_one_paragraph_a_line() -> None:
    paragraph = " ".join(PROSE_SENTENCES)
    text = f"Introduction\n{paragraph}\nRelated Work\n{paragraph}\n"
    titled = ["Introduction", *PROSE_SENTENCES, "Related Work", *PROSE_SENTENCES]
    assert sentences(text) == titled


def test_titles_one_a_line_are_not_taken_for_wrapped_text() -> None:
    lines = [f"{word} Study of the Old Town and Its {word}" for word in ("Great", "Small", "Tiny")]
    assert sentences("\n".join(lines * 3)) == lines * 3


def test_speakers_of_a_transcript_start_sentences() -> None:
    turns = ["Grad C: Well , {pause}", "PhD D: It did {pause}", "Grad C: So .", "PhD D: and then"]
    assert sentences("\n".join(turns)) == turns


@pytest.mark.parametrize(
    "blank", ["\n\n", "\n \t\n", "\r\n\r\n", "\n\n\n", "\r\r", "\u2029", "\n\u200a\n"]
)
def test_a_blank_line_is_always_a_boundary(blank: str) -> None:
    parts = ["it was Mr.", "smith, e.g.", "•", "the one (or", "so)"]
    assert sentences(blank.join(parts)) == parts


def test_a_single_break_between_two_lines() -> None:
    # Ragged: nothing asked for a new line, and the text goes on with a small letter.
    assert len(sentences("The quick brown fox jumped right over the\nlazy dog.")) == 1
    for lines in (
        ["A Short Heading", "The text begins here."],
        ["flour", "sugar"],
        ["We need:", "• flour", "• sugar"],
    ):
        assert sentences("\n".join(lines)) == lines


@pytest.mark.parametrize(
    "blank", ["", " ", "\n\n", "\t\r\n \x0b\x0c", "\x1c\x1d\x1e\x1f\x85", "\u3000"]
)
def test_blank_text_has_no_sentence(blank: str) -> None:
    assert split_sentences(blank) == []


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\x00", "\x07", "\u200d", "\u00ad", "\ud800"])
def test_what_is_not_white_space_is_text(mark: str) -> None:
    assert split_sentences(mark) == [(0, 1)]
    assert split_sentences(f" {mark}\n") == [(1, 2)]
    assert_invariants(f"One.{mark} Two{mark}. {mark}Three\n\n{mark}")


def test_an_invisible_mark_does_not_hide_a_boundary() -> None:
    parts = ["One ended.\u200f", "\u200eTwo began."]
    assert sentences(" ".join(parts)) == parts


def test_every_white_space_character_may_stand_in_a_gap() -> None:
    spaces = [c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace()]
    assert len(spaces) > 20
    for space in spaces:
        parts = ["It ended.", "The next began."]
        assert sentences(f"{space}{space.join(parts)}{space}") == parts


any_character = st.characters(exclude_categories=())  # surrogates too
tricky = st.sampled_from(
    [
        ".", "!", "?", "…", " ", "  ", "\n", "\r\n", "\u2029", "\x1c", '"', "”", "“", "'", "(", ")",
        "[1]", "。", "」", "．", "।", "؟", "•", ":", ";", ",", "I", "A", "a", "e", "no", "Mr",
        "etc", "al", "U.S", "3", "12", "The ", "ก", "  ก", "と", "\u200b", "- ", "x: ", "�", " . ",
    ]
)  # fmt: skip
tricky_lines = st.lists(st.lists(tricky, max_size=12).map("".join), max_size=12).map("\n".join)


@settings(deadline=None, max_examples=500)
@given(st.text(any_character) | st.lists(tricky, max_size=40).map("".join) | tricky_lines)
def test_invariants_hold_for_any_text(text: str) -> None:
    assert_invariants(text)


LENGTH = 150_000
ADVERSARIAL = {
    "no terminator": "word ",
    "one word": "x",
    "periods": ".",
    "initials": "a. ",
    "capital initials": "A. ",
    "initials without spaces": "a.",
    "spaced periods": " .",
    "periods and brackets": ".)",
    "long wrapped lines": "word " * 15 + "\n",
    "one letter a line": "a\n",
    "quotes": '." ',
    "quoted lines": "> a\n",
    "marks": ">",
    "lines of marks": ">\n",
    "open brackets and ends": "(a. A ",
    "brackets and ends": "(a. A) ",
    "fused sentences": "late.The ",
    "ideographs and weak stops": "他走了.",
    "guillemets": "« a. » ",
    "hyphens": "per-\n",
    "numbers": "no. 5 ",
    "dates": "5. 3. 1990 ",
    "references": "gem. Art. 5 ",
    "lone quotes": 'a . " ',
    "ideographs": "他走了",
    "ideographic stops and quotes": '。"',
    "thai": "ก ",
    "thai with wide spaces": "ก" + " " * 3000,
    "spaces and periods": "a." + " " * 3000,
    "bullets": " • ",
    "closing brackets": ")",
    "opening brackets": "(",
    "spaces": " ",
    "line breaks": "\n",
    "reference marks": "[1]",
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_long_adversarial_text_is_split_in_linear_time(name: str) -> None:
    # Quadratic time would take minutes to hours here; the patience of the suite is the limit.
    unit = ADVERSARIAL[name]
    assert_invariants("It ended." + unit * (LENGTH // len(unit)) + "a The end.\nX")
