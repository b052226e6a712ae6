"""Words that tell where sentences end, language by language: data for the splitter of sentences.

All tables are used at once, whatever the language of a text. So a word stands here only where it
harms no other language: one that ends sentences elsewhere is in a weaker table, or left out. Words
are in small letters and without their last period; `lower` of a word finds them.

To add a language, add its words to these tables, kind by kind: titles, law, medicine, addresses,
books of the Bible, days, months, measures. Those of de, en, es, fr, it, pt and ru were compared
with the suppressions of sentence breaks of Unicode CLDR 44 (common/segments of
https://github.com/unicode-org/cldr).
"""


def words(*languages: str) -> frozenset[str]:
    """The words of several languages, each written in a row."""
    return frozenset(word for words in languages for word in words.split())


# English titles, and what explains or continues: never the end of a sentence, in capitals either.
_ENGLISH_NEVER = words(
    "mr mrs ms mx dr drs prof profs messrs mmes st rev hon gen col capt lt sgt cpl maj cmdr adm "
    "gov sen sens rep reps pres supt fr atty ald amb brig pvt pfc e.g i.e eg ie cf viz vs v c.f "
    "resp incl excl esp i.c q.v a.k.a w.r.t"
)

# The same in any language.
NEVER = _ENGLISH_NEVER | words(
    # German
    "vgl bzw z.b d.h u.a i.d.r z.t u.u s.o s.u o.g sog inkl exkl ggf ggfs evtl hr hrn frl dipl- "
    "ing hl kath evang geb gest verh ehem insb insbes zzgl abzgl bspw urspr allg lat griech engl "
    "frz nördl südl östl westl i.a z.hd eigtl näml entspr einschl ausschl österr "
    "röm kgl amtl erw überarb neubearb städt gesetzl fam gebr frl dipl.-ing dipl.-kfm s.a "
    "m.e u.z v.u.z aggr",
    # French
    "mme mlle mlles mgr p.ex c.-à-d c.à.d c-à-d",
    # Spanish, Portuguese
    "sra srta sres sras srs dra dres dras profa p.ej p.e dña excmo excma ilmo ilma exmo exma cel "
    "sto sta gral tte cnel avda vda pbro mons v.exa v.ex.ª fdo fdos lcdo lcda ldo lda licdo "
    "licda mtro mtra rvdo rvda rvdmo rdo excmos ilmos ilma exmos srtas sdad ntra ntro almte "
    "profª prof.ª prof.ª drª dr.ª sr.ª sra.ª dª v.gr revmo revma",
    # Italian
    "dott dott.ssa prof.ssa sig sigg sig.ra sig.na sig.ri avv cfr p.es egr spett dr.ssa "
    "prof.ri avv.ti ill.mo chiar.mo gent.mo preg.mo rev.mo fr.lli f.lli p.zza v.le c.so l.go",
    # Dutch
    "dhr mevr jhr bijv b.v d.w.z o.a m.b.t t.a.v i.v.m m.a.w n.a.v t.o.v m.n m.u.v zgn "
    "mej zgh mgr vlgs i.p.v t.b.v t.g.v i.h.k a.h.w o.l.v o.m ",
    # Polish
    "np tzw tj tzn t.zn m.in mgr inż hab ks św bp abp kard płk ppłk mjr kpt ppor sierż zob wg śp "
    "bł śś im rtm plut kpr podinsp nadkom podkom adw przew wiceprzew prok "
    "wzgl ew jw ww ",
    # Czech, Slovak
    "např tzv t.j resp popř příp ing mudr judr phdr rndr pplk plk npor tř nám",
    # Russian, Ukrainian, Bulgarian
    "т.е т.к т.н т.зв т.нар в.т.ч т.ч м.б проф акад доц канд инж г-н г-жа св ул вул просп бул наб "
    "см ср напр тов ген полк адм имп англ нем лат греч итал устар букв див д-р вж и.о р-н пос дер "
    "мкр мкрн ст-ца хут науч сотр пр-т б-р наб-я рожд зам нач зав дир подполк лейт серж прап "
    "архиеп еп архим митр прот преп "
    "фр исп яп рус укр церк-слав т.о т.наз ф.и.о г-да ",
    # Turkish
    "doç yrd hz bkz örn sn müh alb",
    # Swedish, Danish, Norwegian
    "bl.a t.ex t.o.m fr.o.m d.v.s dvs f.d s.k f.eks fx.eks jf jfr jvf",
    # Finnish, Hungarian, Romanian, Indonesian
    "esim vrt ns ifj özv ún dl dlui d-na d-l jl jln kec kab hlm yth sdr bpk",
    # Greek
    "κ κα κ.κ π.χ δηλ βλ πρβλ δρ καθ λεωφ",
    # Arabic, Persian, Hebrew
    "أ.د د.م",
    # Hindi, Marathi, Bengali: titles, and Latin letters as they are spoken
    "डॉ प्रो प्रा पं श्री श्रीमती सौ कु स्व मा चि एम के सी बी ए डी ई एस आर जे टी वी एन एल एच एफ "
    "यू ओ ड ডা ড মো অধ্যা",
)

# English: not the end before a number, a numeral, a lone letter or a small letter.
_ENGLISH_NUMBERED = words(
    "fig figs eq eqs eqn eqns no nos sec secs sect art arts p pp vol vols ch chap tab tbl para "
    "paras cl app appx ex exh ref refs def defn prop thm lem cor alg obs approx ca c est ver op "
    "tel ext § rule reg subsec subd amend lib sch tit"
)

# The same in any language.
NUMBERED = _ENGLISH_NUMBERED | words(
    # English, but not in capitals
    "max min avg deg dia diam rel spec specs sched rm fl flr fax ph mod ser bk bks bull col cols "
    "fn fns fol ff n nn num nums dim div doc docs dwg edn elem encl fasc freq hr hrs incl iss inv "
    "lect lvl med misc mss pl plt pos pkg pg pgs pgph pct pt pts qty quot rept res resol rev rt "
    "rte sess sq std sub subpt subpara subch suppl temp var vel vers wt stmt illus annot bldg mtg "
    "attn po conc pat pats cls cfm rpm psi dos tabl caps inj wks yrs exod lev deut josh judg kgs "
    "neh esth ps pss prov eccl eccles isa jer lam ezek hos obad mic nah hab zeph hag zech mal "
    "matt mk lk jn rom cor gal eph phil thess philem heb jas apoc",
    # German
    "nr nrn abs ziff bd bde kap abb rn rz anm aufl jg lit buchst bl sp str u.ä gem § §§ mind "
    "durchschn mwst ust az aktz geschz durchm whg hs abt abf ank bem beisp bsp fußn "
    "kto plz postf proz rdnr rdnrn sek std stck stk tgl tägl jährl monatl mtl wöchentl wö verf "
    "vers urt beschl abschn unterabschn anh anl beil gl gln lfg taf tafl temp kennz mob telef "
    "gew entf gr vorl höchst rd zi zimm og ug eg etg stg qm kl ausg bes zw halbs spez "
    "mt mk lk joh röm hebr offb jes jer hes apg kor gal eph ps spr mo di mi sa gesch-z bestnr",
    # French, Spanish, Italian, Portuguese
    "n nn núm núms n.º n.° nº n° pág págs pag pagg artt arts cap caps capp figg voll env aprox "
    "tfno séc secc apdo ap par chap liv parr fasc ss esc",
    "tél télec règl dir décr arr ord circ civ crim soc pén const cass ch req sect tit ann "
    "annx tabl ill éq éqs bât appt appart ét étg rte vit moy cp cps compr gél réf dos cat "
    "matth rom vv lun mar jeu ven sam dim vit hab superf cod parag paragr réglt",
    "párr párrs fto fdto gén éx cáps fracc inc incs tít fols fs exp expte exptes lám láms ilus "
    "gráf graf teléf tfn "
    "móv int apto depto dpto pta pza plta pje km kms máx mín comp comps gts grs kgs lín líns "
    "cód mat ej ejs aptdo org res disp mc lc mié jue sáb dom ene mz edif",
    "lett co cpv comm tav tavv segg sez sezz d.lgs dlgs d.p.r dpr d.l d.m l.r delib disp att prot "
    "prov rif cpr compr gv genn febbr febb sett ott mag giu lug gio sab dlg decr ",
    "parág parágs al als alín fl fls proc procs dec decr compl bl lj cj qd conj ramal "
    "cx tb gráf jo ter qua qui fev mai índ próx telef req rel súm acórd lit",
    # Dutch, Swedish, Danish, Norwegian, Finnish
    "blz nrs afb hfdst hfst jrg dl kl sid pkt stk tlf nro klo onderd artt aanh bijl afd afl dln "
    "uitg openb ma wo vr za mrt febr gem verd rekeningnr postb toest",
    # Polish, Czech, Slovak
    "ust poz rys rozdz ok godz zał pkt č čl odst písm obr roč maks śr rozp tabl fot il ryc wykr "
    "wys szer dł gł kaps łyż jedn dz cz syg sygn akt faks wew lok bud k t lp pon wt czw pt sob "
    "niedz stycz lut kwiec czerw "
    "lip sierp wrz wrześ paź paźdz listop grud ul nn zw przyp orz wyr uchw zarz obw cyt",
    # Russian, Ukrainian, Bulgarian
    "рис табл стр с гл ст п пп ч кн т тт вып разд абз прим илл ил тел кв корп оф лит подп "
    "розд мал чл ал ок сл капс ум доб прил эт каб ауд комн пом вл уч схем карт прим сн тетр л лл "
    "вер макс мин ср средн темп факс моб отд прот пост расп зак дог опр реш под пр просп мкр "
    "янв фев февр мар апр авг сен сент окт ноя нояб дек пн вт чт пт сб вс мф мк лк ин рим кор "
    "ном диам выс шир длин изм ред форм пунк парагр вопр упр зад лаб лекц сб",
    # Turkish, Hungarian, Romanian, Indonesian, Vietnamese
    "md mad şek sy sf sz bek kb alin pct nr bl sc hal",
    # Greek
    "σελ αρ άρθ παρ κεφ εδ τ τόμ εικ πίν αριθ τηλ",
    # Arabic, Hebrew
    "رقم ص ج ط مج ع ف م ت ق س هاتف تلفون فاكس جوال مادة فصل باب ص.ب عدد شكل جدول עמ מס",
    # Hindi, Marathi, Bengali
    "रु क्र पृ सं नं रू নং পৃ",
)

# English, of companies, schools, places and publications: may end a sentence, if the next word
# looks like the first of one.
_ENGLISH_ENDERS = words(
    "inc corp ltd co cos llc plc bros jr sr esq al ph.d m.sc b.sc ll.m ll.b dept univ assn assoc "
    "ave blvd rd mt ft hwy intl natl mfg dist ste proc conf trans int symp acad inst sci supp "
    "asst bldg pkwy mtn rte cf dba ed eds"
)

# The same in any language.
ENDERS = _ENGLISH_ENDERS | words(
    # German
    "gmbh mio mrd mill tsd str jh jhd rer nat fa hrsg verl übers bearb tabl std stk chr jahrh ebd "
    "el tl",
    # French, Spanish, Italian, Portuguese
    "s.a ud uds av bd boul pr sté cie arq lic geom s.p.a s.r.l a.c d.c hnos eng dep cia ltda "
    "éd rééd coll trad préf apr dépt gouv univ cía dto prov édit",
    # Dutch, Polish, Czech, Slovak
    "mw ir ds mln mld tys ul pl os ur zm dyr doc tis sp wyd tłum oprac vyd překl",
    # Russian, Ukrainian, Bulgarian
    "тыс тис млн млрд руб долл коп грн хил лв др пр обл им ім гр респ пер пл оз чел экз н.э м "
    "изд ред сост губ чел шт полк пос",
    # Turkish, Romanian, Indonesian, Vietnamese, Hungarian, Finnish
    "cad sok mah bul jud loc mun",
    # Greek
    "εκατ δισ χιλ μ.χ π.μ μ.μ αγ",
)

# Written in capitals, words of these tables are mostly something else (NP, DNA), but for these, and
# measures of German cooks: "3 EL. Öl".
_VIETNAMESE = words("tp pgs gs ts ths bs ls nxb")
IN_CAPITALS = _ENGLISH_NEVER | _ENGLISH_NUMBERED | _ENGLISH_ENDERS | _VIETNAMESE | words("el tl")

# May end a sentence, as above, but shorten only where they begin with a capital.
CAPITALIZED = _VIETNAMESE | words(
    # Courts, codes, reporters and states of the law of the United States
    "cir stat civ crim am jur bankr fed supp cong rec reg pub ct cts jud juris evid proc adm "
    "admin ann dig cal ill tex fla mass mich minn miss okla ore wash wis ariz ark colo conn del "
    "kan ky md mo mont neb nev tenn va vt wyo ala ga la pa ind rptr atl cert dkt exec subch const "
    "treas rul sess res stip app ed prac mag cl gen com comm util trib apt op regs bus ltr priv "
    "memo tr transp educ elec veh pen fin prop env est exec fam hous loc mil mun "
    "pers soc nat unemp ins corr cts dom dist div intell prods publ serv "
    "sys telecomm twp hosp indus liab merch",
    # Days: "Fri. Jan. 5"
    "mon tue tues wed thu thur thurs fri sat mo di mi do sa so",
    # Titles and offices, and what a place is called
    "on ing cap min pres prés card dep des ver dir pe me ste sts vve cte vte chev pdte gob alc "
    "dip secr pref sarg ten alm vig pza pta trav org magg serg brig cav comm min sac ven "
    "dom verf hptm ra angekl kt bez oblt olt uffz gov't bibl eccl bhf hbf chr gr secr subsecr sov "
    "ass rag arch geom pol rod parl dz por кап ком мл ст верх рук упр гос центр",
)

# And so on: a small letter goes on, a capital begins a sentence.
AND_SO_ON = words(
    "etc usw usf u.s.w ecc itd itp enz osv o.s.v m.m m.fl mv atd apod aj т.д т.п т.б т.п проч jne "
    "ym yms stb ș.a.m.d vb vd κ.λπ κλπ κ.ά κ.τ.λ κτλ dll dsb v.v إلخ الخ"
)

# Before the number of a day; behind it a sentence may go on with a capital.
MONTHS = words(
    "jan feb mar apr jun jul aug sep sept oct nov dec okt dez mär juil déc févr janv febr avr abr "
    "dic ene fev genn febbr sett ott mrt stycz kwiec czerw sierp wrześ paźdz listop grud янв февр "
    "апр авг сент окт нояб дек"
)

# What comes behind the period of a domain, a file or a library, not a fused sentence.
SUFFIXES = words(
    "com net org edu gov mil int io ai co uk de js ts py txt pdf html htm php exe dll doc zip xml "
    "json csv jpg png gif md app dev tv info biz"
)

# Short words that are no abbreviation before a number.
ORDINARY = words(
    "he she it we me us him her you they this that all one two now then here too so yes no not "
    "out up off on in at by to go see day year time man men war end way home work life god lord "
    "bob ann tom joe sam jim tim dan ben max kim lee amy eve sue ray roy guy iran iraq cuba peru "
    "rome ohio utah iowa mars moon york asia may june july",
    # English: what ends sentences of nine corpora
    "flat calm dull wet dry hot warm cool loud neat thin thick deep tall sharp smart sweet sour "
    "raw solid rough tough round swift grand bland plain alert aware quick brisk stiff clean dark "
    "quiet grey gray green black white blind deaf slim trim grim numb get flash "
    "model words set text word task them used pairs tasks rules sets other below well trees level "
    "order paper tags pair list ones form input verb verbs types cases nodes class texts right "
    "terms event times law is years items world point forms ways basis block said nouns tag step "
    "test steps month stack names found links roles error head cost term group noun token days "
    "chain edges label with again costs exist topic lists first hours item user later layer power "
    "occur users hand small for claim laws each known added gas does both units field low path "
    "wrong given parts from sizes chart left tests paths heads view loss high bound of root match "
    "facts acts taken turn next thing risk works act far best grams focus pages clear fees run "
    "week slots slot means audit paid tool pass unit codes speed bias faith own void limit water "
    "yet prior fixed clues book mail back fork good news help down tools holds shown marks rates "
    "less team room web votes ours uses lines forth gap part sites call child did rank death "
    "split new edits agent plan taxes goals total past hour lower sides logic proof setup over "
    "weeks runs link span gram equal seen kind based valid cells index goal cell count old was "
    "often know stems bold cues can needs pool hash fail track slow woman much map novel sex "
    "posts plans funds long color shift met loop sync bits women night car row drop arcs fact "
    "upon bank books files court four post bytes depth usual flag top about ideas areas truth "
    "learn hard merit ranks cards full cash teams calls hold flow show dead drugs lost poor bases "
    "drawn gaps rest gains short sort ahead such sales goods trial check local chunk roots would "
    "ever job read shows worst tweet find deal stem ties spans swap axis coder fish puns being "
    "oral ads sold offer board stock light firm fit music filed open graph apart logs fold peers "
    "null forks fails epoch drops norm jumps keys door says will shot died mean fast weak moves "
    "half favor fault need forum brand dates suit staff trend ends skill panel box ether lived "
    "rent jobs real built began park fired grid river sign want break asked beam after seeds "
    "blogs bar fewer views saw train norms pun ages evil harm food tax email disk refer noted net "
    "batch trust asset goes bomb last been sound has storm mood wall crowd lies press ring doing "
    "lives hit town self stop north as cover wood font axes rigid bag maps shop still eat tried "
    "cross south arc salt pitch twins sums stars brain lyric doubt bond award risks fixes bill "
    "start held ended owner mix fund blank camp owns plant lead wages loan draft soon pools rich "
    "sent front send grows halt jump win girl born red leaf nil along fight talk floor homes fear "
    "laugh stand told watch stuff band brown guess plot wait soil odd em black girls wind least "
    "and kept cut lows width fires joint offs tapes les few earth named zones dog six sun rows "
    "most pivot carl loops human ak gloss fruit edit tries east films turns trios foil fell rose "
    "grew knew threw drew flew blew ran won sat slept wept swept felt dealt spent bent burst hurt "
    "quit slid spun stuck sank swam rang drank cried fled bled fed led shed dread bread wheat "
    "meat boat goat coat cat rat bat hat fox ox pig hen egg oil sky joy boy toy spy baby lady "
    "army navy city duty study story glory hurry worry carry marry party enemy body busy easy "
    "happy angry sorry empty heavy ready early daily dirty rain snow dust sand mud pond lake hill "
    "rock iron coal corn milk beer wine farm barn yard gate roof hall desk lamp bed clock chair "
    "knife spoon glass plate dish bowl cup shirt dress skirt shoes socks boots belt scarf neck "
    "chest arm leg foot feet toes nose eyes ears lips teeth hair skin bone blood heart lung mouth "
    "tooth thumb wrist ankle knees elbow grass seed king queen lord saint monk nurse",
    # German, French, Spanish, Dutch, Polish, Russian
    "host jahr alt tag ort zeit mann frau land welt haus geld stadt krieg tod recht ist sind war "
    "hat wird ab an auf aus vor zu ein gut viel nicht auch mehr jour pays mort temps fois nuit "
    "vert fort tout bien rien pas ans mois loin fin mal sur mar sol paz luz vez dos tres más así "
    "tijd land stad dood oud nu niet meer rok dzień dom czas kraj lat tak nie był jest już год "
    "дом день лет раз нет был дня век мир нас вас них ему ей им там так",
)

# Words that end no line, heading or item; what follows is the same sentence.
LINKING = words(
    "a an the and or of to in on at by for with from as into onto upon between than that which "
    "who whose is are was were be been has have had will would can could may might must should "
    "its their his her my your our this these those not but if because while when where",
    "der die das den dem des und oder ein eine einen einem einer im am zum zur von mit für ist "
    "sind",
    "le la les un une des du de et ou à au aux en dans pour sur par avec que qui est sont",
    "el los las y o del al con por para que se su sus es son lo",
    "il gli di e che del della nel nella per non si è",
    "os as do da dos das em no na um uma com não",
    "het een van op met voor en of te dat",
    "i w z na do od dla się jest nie",
    "и в на с по из к о от до для не что как при за или",
)

# Words that a number behind them belongs to, also over the end of a line.
REFERRING = words(
    "table tables figure figures section sections chapter chapters page pages equation equations "
    "version number part step article rule volume appendix example theorem lemma proposition "
    "definition corollary algorithm phase tabelle abbildung abschnitt kapitel seite artikel "
    "nummer teil band tableau chapitre partie numéro tabla figura sección capítulo página "
    "artículo número tabella capitolo pagina articolo numero tabela capítulo seção tabel "
    "hoofdstuk bladzijde таблица таблице рисунок рисунке глава главе раздел разделе часть статья "
    "странице"
)

# Measures: behind a number and before a capital they end a sentence ("5 см. Вес", "8 h. Vamos").
MEASURES = words(
    "mm cm dm m km kg mg g h hr hrs min sec s t l ml cl ha cal lb lbs oz ft yd in mi mph yr yrs wk "
    "wks kms kgs hs uur std zł gr euro eur kr kn kc kč km/h kcal kwh mw kw pct proc pc szt p "
    "lat st мм см дм км м кг мг л мл га ч мин сек с руб коп р чел шт грн лет"
)

# Behind the hour they go on: "8 p.m. Monday", "8 p.m. Eastern time".
OF_HOURS = words(
    "monday tuesday wednesday thursday friday saturday sunday eastern central mountain pacific "
    "atlantic et pt ct mt est edt cst cdt mst mdt pst pdt gmt utc cet greenwich london tokyo "
    "paris london's local daily standard daylight new mon tue tues wed thu thurs fri sat sun to "
)

# First words of sentences that are hardly ever names.
STARTERS = words(
    "The This That These Those There It They However Moreover Furthermore Therefore Although "
    "Additionally Because Since While When Where Which Our Their Thus Hence Finally Similarly Then "
    "Here If But And What Why How Its Nobody Everybody Everyone Someone Nothing Everything "
    "Nevertheless Nonetheless Instead Indeed Meanwhile Consequently Accordingly Unfortunately",
    # German, where a noun may follow
    "Der Die Das Am Ein Eine Einen Einem Einer Er Sie Es Wir Ich Dies Diese Dieser Dieses Diesen "
    "Dann Doch Aber Und Im Bei Mit Nach Auch Dort Hier Heute Gestern Danach Deshalb Daher Jedoch "
    "Seine Ihre Als Wenn Wer Wie Wo Warum Nur Schon Seit Zum Zur Auf Für Nun Damals Später Niemand "
    "Alle Viele Einige Trotzdem",
)

# The same, but also surnames or parts of names: a small letter must follow.
STARTERS_BEFORE_SMALL = words(
    # English
    "We He She You I In On At As An A For From To By With So Not After Before During His Her My "
    "Your Also Each Both Some Most Many Such Under Given Let Who Following Using Shares Was Were "
    "Is Are Do Does Did Has Have Had Can Could Should Would Will Please Let's One Two All Every "
    "Now Yes No Yet Once Until Unless Through Later Today Yesterday Sometimes Perhaps Maybe "
    "Specifically Generally Currently Recently Previously Initially Eventually Overall Despite",
    # German
    "Den Dem Des Was Man Ihr Sein Um Vor",
    # French
    "Le La Les Un Une Il Elle Ils Elles Nous Vous Je Ce Cet Cette Ces Mais Et En Dans Pour Puis "
    "Son Sa Ses Leur Leurs Au Aux Du Depuis Après Avant Ainsi Or Qui Que Quand Aucun Tous Personne "
    "Où Comment Pourquoi",
    # Spanish, Italian, Portuguese
    "El Los Las Una Él Ella Ellos Este Esta Estos Esto Ese Pero Y Se Su Sus Lo Por Para Con Cuando "
    "Después Luego Entonces Hoy Ayer Ya Al Del Nadie Todos Es Fue Era Hay Muchos Qué Quién Dónde "
    "Cómo Cuándo "
    "Gli Uno È Egli Lui Lei Essi Questo Questa Quello Ma E Nel Nella Non Si Per Poi Dopo Oggi Ieri "
    "Nessuno Tutti Anche Dal Dove Perché Quando "
    "O Os Um Uma Ele Ela Eles Elas Isso Mas Em Na Não Seu Sua Com Depois Hoje Ontem Já Ao Ninguém "
    "É Foi Há Quem Onde",
    # Dutch
    "De Het Een Hij Zij Ze Wij Ik Dit Dat Deze Maar Op Met Voor Toen Daarna Ook Niet Als Wie Wat "
    "Iedereen Vandaag Gisteren Naar Van Waar Waarom Hoe Wanneer",
    # Polish, Czech
    "Ona Ono Oni Ten Ta Te Nie W Z Po Od Dla Ale Potem Kiedy Gdy Wtedy Jest Był Była Jego Jej Ich "
    "Wszyscy Nikt Dziś Wczoraj Już Tam Tu Tak Czy Gdzie Dlaczego Jak Co Kto "
    "V Pak Když Byl Byla Nikdo Všichni Dnes Včera Za",
    # Russian, Ukrainian
    "Он Она Оно Они Это Этот Эта Эти Но И А В На С По Из От До За Для Потом Затем Когда Если Тогда "
    "Мы Вы Я Его Её Их Там Здесь Так Как Что Кто Никто Все Сегодня Вчера Теперь Уже Не Был Была "
    "Было Были У После При Под Однако Поэтому О К Через Где Почему Зачем Куда Откуда Сколько "
    "Він Вона Вони Це Цей Але І Й Та З Потім Коли Ми Ви Його Її Тут Ніхто Усі Сьогодні Вчора",
    # Turkish
    "Bu Şu Onlar Biz Ben Sen Ama Ancak Ve Fakat Sonra Daha Bugün Dün Orada Burada Kimse Herkes Bir "
    "Çok Yine",
    # Swedish, Danish, Norwegian, Finnish
    "Han Hon Hun Vi Jag Jeg Men Och Og På Efter Etter När Når Då Där Här Det Ett Et Som Ingen Idag "
    "Igår Detta Dette Hän Ne Mutta Ja Kun Sitten Nyt Tämä Kukaan Kaikki Siellä",
    # Greek
    "Ο Η Το Οι Τα Ένας Μια Ένα Αυτός Αυτή Αυτό Και Αλλά Όμως Στη Στην Στο Στις Δεν Μετά Όταν "
    "Κανείς Όλοι Σήμερα Χθες Ήταν Είναι",
    # Hungarian, Romanian
    "Az Egy Ez És Ő Ők Majd Aztán Ha Mi Nem Itt Ott Ma Tegnap Senki Mindenki Ezért Amikor "
    "Ea Ei Dar Și În Nu Apoi Când Nimeni Toți Astăzi Aceasta Acest",
)

# Offices in small letters behind an article or "and": "le cap. Petit", "il ten. Colombo".
OF_OFFICES = words(
    "o отд преп cap magg ten kap kol col kan serg sarg on rev min pres card prez gen кап полк"
)
BEFORE_OFFICES = words("le la il lo el o os de der dem den del al das und et e y en i ks и")

# Titles that are ordinary words behind a name ("the Balancing Cap. Cisco pays"), and regions.
LASTS_OF_NAMES = words("cap card pen rod dip bus min fin mil губ обл")

# What courts decide; a court in capitals follows: "см. опр. ВС РФ", "wyr. SN".
OF_COURTS = words("wyr uchw orz опр реш пост прик расп urt beschl arr")

# Behind "Dr.": German faculties.
OF_DOCTORS = words("med phil jur iur rer nat oec pol theol vet dent habil agr ing")

# Behind a first word they show a name ("J. Han and", "J. Van der Berg", "J. Ma et al.").
OF_NAMES = words("and et und y e og och en der den de la las los le van von du dos da ten ter")

# German: words before an ordinal number ("im 2. Weltkrieg").
BEFORE_ORDINALS = words(
    "am im zum vom beim der die das dem den des ein eine einem einen einer eines seit ab bis "
    "jeder jede jedes ihr ihre ihrem ihren sein seine seinem seinen mein unser unsere dieser "
    "diese dieses zur ins und"
)
# Words that show a language which writes ordinal numbers with a period.
ORDINAL_LANGUAGES = words(
    "die sie wir ich ihr sich aus nach auch noch jetzt sind oder aber nur über werden wohnt kam "
    "beim vom den als bei seit bis kein einem einer einen durch gegen "
    "der das und ist im nicht ein eine dem zum zur mit von wurde auf für ve bir bu için ile "
    "olarak és az egy hogy og er det som på ja on oli se że się jest roku je na se byl nebo které "
    "i u"
)
