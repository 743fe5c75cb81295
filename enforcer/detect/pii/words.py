"""
Word lists of the name recogniser.

FIRST_NAMES are among the most frequent given names of the United States (Social Security
Administration, public domain) and of other countries' published name statistics. NOT_NAMES are
English words that stand capitalised without being names.
"""

from __future__ import annotations

FIRST_NAMES = frozenset(
    b"""
    aaron abdul abigail adam adrian agnes ahmed aisha alan albert alejandro alex alexander alexandra alfred ali alice
    alicia alison allison alma amanda amber amelia amir amy ana andrea andreas andrei andrew angel angela anita ann anna
    anne annie anthony antonio ariana arthur ashley astrid aurora austin ava barbara beatrice ben benjamin bernard beth
    betty beverly bill bob bogdan boris brandon brenda brian bridget bruce bryan caleb cameron camila carl carla carlos
    carmen carol carolina caroline carolyn catherine cecilia charles charlotte cheryl chiara chloe chris christian
    christina christine christopher cindy claire clara claudia connor craig crystal cynthia daniel daniela danielle
    david dawn dean deborah debra denis denise dennis diana diane diego dimitri dmitri dominic donald donna doris dorothy
    douglas dylan edith eduardo edward elena eli elias elijah elisabeth elizabeth ella ellen emil emilia emily emma enrico
    eric erica erik erin ernest ethan eugene eva evan evelyn fatima felix fernando fiona florence frances francesca
    francesco francis francisco frank fred frederick gabriel gabriela gary george gerald gianni gina giovanni giulia
    giuseppe gladys gloria grace greg gregory guillermo gunnar hanna hannah hans harold harry hassan heather hector heidi
    helen helena henrik henry hiroshi howard hugo ian ibrahim igor ingrid irene iris isaac isabel isabella ivan jack
    jackson jacob jacqueline jake james jamie jan jane janet janice jason javier jay jean jeff jeffrey jennifer jeremy
    jerry jesse jessica jesus jill jim joan joanna joe joel johan johanna john johnny jon jonas jonathan jordan jorge jose
    josef joseph joshua joyce juan judith judy julia julian julie juliette justin kai karen karin karl kate katherine
    kathleen kathryn katie kayla keith kelly ken kenneth kevin kim kimberly klaus kristen kristin kyle lars laura lauren
    laurence lawrence lea leah lee leo leon leonard liam lily linda lisa logan lois lorenzo louis louise luca lucas lucia
    lucy luis luka lukas luke lydia madison magda manuel marc marco marcus margaret maria marie marilyn mario marion mark
    marta martha martin martina mary mateo mathias matteo matthew maureen max maya megan mehmet melanie melissa mia michael
    michel michelle miguel mike mikhail milan milena miriam mohamed mohammad mohammed molly monica muhammad nadia nancy
    naomi natalia natalie natasha nathan neil nicholas nicolas nicole nikolai nina noah nora norma oleg olga oliver olivia
    omar oscar pablo pamela patricia patrick paul paula pauline pavel pedro peter petra philip philippe phillip pierre
    priya rachel rafael rahul raj ralph ramon raymond rebecca ricardo richard rita robert roberta roberto robin rodrigo
    roger roland ronald rosa rose ross roy russell ruth ryan sabrina sam samantha samir samuel sandra sara sarah scott
    sean sebastian sergei sergio shane shannon sharon shawn sheila shirley silvia simon sofia sonia sophia sophie stefan
    stefano stella stephanie stephen steve steven stuart sue susan suzanne sven sylvia tamara tara tatiana teresa terry
    thea theodore theresa thomas tiffany tim timothy tina todd tom tomas tony tracy tyler ulrich ursula valentina valerie
    vanessa vera veronica victor victoria vincent viktor virginia vladimir walter wanda wayne wendy william willie xavier
    yasmin yolanda yuki yusuf yvonne zachary zoe
    """.split()
)

NOT_NAMES = frozenset(
    b"""
    a about above account action add after again all also although always am an and another any april are area article as
    ask at august author available away back bank be because been before bill billing bot both box bring build business but
    button by call can cancel card case cc chapter chart check choose city civil class clause click client close code comedy
    company contact copy could country court create credit customer data date day days dear december delete deliver
    department desk did directed do does done don't down draft during each easter edit eight email employee end english
    enter every everyone example fax february file find first five for four free french friday from general german get
    give go good google government great group had happy has have he hello help her here hey hi his home hotel how i i'd
    i'll i'm i've if image important in inc install instructions international into introduction is it it's its january job
    july june just keep kingdom know language last latest lead let let's level line list live located look ltd mail make
    manager many march may me meet meeting memo message microsoft mobile model monday month more most moved mr mrs ms much
    must my name national need never new news next no north not note nothing november now number october of office ok old
    on once one online only open or orchestra order other our out over page party password pay payment people personal
    phone please point policy press price private product project public python question quick read real reason record
    reference regards remember report request return review right rights road russian said sale saturday save say school
    search second section security see select send september server service set seven she should show sign since site six
    so software some someone something south spanish start state states statement stop street subject submit sunday support
    sure system table take tell ten test text than thank thanks that that's the their them then there there's these they
    they're things think this those three thursday time title to today together tomorrow too total town try tuesday two
    type under unit united university unlike until up update upload us use user username using value version very view visa
    visit wait want was we we'll we're website wednesday week welcome well went were west what what's when where which
    while who why will with within without work world would write year years yes yesterday you you're your zip
    """.split()
)
