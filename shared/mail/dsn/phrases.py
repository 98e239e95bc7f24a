"""What reports say to people, in the languages they say it in. In lower case; asked of a line or a field each."""

from __future__ import annotations

import re
from functools import lru_cache

#: What is longer is not kept for the next reader.
_LINE_CHARACTERS = 200


class Phrases:
    """Patterns of what may be said; text is put into lower case, since ignoring case costs many times more."""

    def __init__(self, *phrases: str) -> None:
        self._pattern = re.compile("|".join(f"(?:{phrase})" for phrase in phrases))
        # Several readers ask about the same line.
        self._are_in_line = lru_cache(maxsize=1000)(self._search)

    def are_in(self, text: str) -> bool:
        """Whether `text` holds one of them."""
        return self._are_in_line(text) if len(text) <= _LINE_CHARACTERS else self._search(text)

    def _search(self, text: str) -> bool:
        return self._pattern.search(text.lower()) is not None

    def begin(self, text: str) -> bool:
        """Whether `text` begins with one of them."""
        return self._pattern.match(text.lower()) is not None


#: Local parts that servers write from.
SERVERS = re.compile(
    r"(?:mailer|mail|mdaemon|majordomo|system|smtp|lotus|exchange)?[-_.]?(?:daemon|demon)|mdaemon"
    r"|post[-_.]?m(?:aster|eister)"
    r"|mail[-_.]?(?:admin(?:istrator)?|master|er|system|router|delivery|gateway|notification|error)"
    r"|microsoftexchange[0-9a-f]+"
    r"|(?:email|message|system)?[-_.]?(?:bounces?|ndr|dsn|undeliverable|delivery)(?:[-+_].*)?"
    r"|e\d{3}_smtp_mail_service|internet[-_.]?mail"
    r"|mailsweeper|mailmarshal|mimesweeper|inetgw\d*|smtpd?|uucp|mmdf|symantec_\w+|interscan\w*|sysadmin"
    r"|auto[-_.]?mailer"
    r"|message-router|mta(?:-?admin)?|mail-?sys(?:tem)?",
    re.IGNORECASE,
)
#: Names that servers write under.
SERVER_NAMES = Phrases(
    r"mail\w* (?:delivery|deliver|transfer|transport|system|server|router|administrat|daemon|gateway)",
    r"(?:delivery|mail) (?:sub-?system|system|service|agent|status)",
    r"mailer[- ]daemon",
    r"postmaster",
    r"system (?:administrator|attendant)",
    r"internet mail|inbound mail|e-?mail (?:system|server|gateway)|jetmail|interscan|mailsweeper",
    r"smtp (?:server|service|gateway)",
    r"mail-?system|mailzustell|postman",
    r"microsoft outlook|microsoft exchange",
    r"sistema de (?:correo|e-?mail)|syst[eè]me de (?:messagerie|distribution)|系统(?:退信|管理员)|退信|系統",
)
#: Subjects of bounces and delay reports.
SUBJECTS = Phrases(
    r"undeliver(?:able|ed)|undelivrable|undelivering|unzustellbar|nicht zustellbar|nicht zugestellt",
    r"onbestelbaar|onbezorgbaar|niet (?:be)?zorg",
    r"deliver\w* (?:\S+ ){0,3}(?:fail|status|error|problem|delay|has failed|incomplete|report|warning"
    r"|unsuccess|notification)",
    r"fail(?:ed|ure|ing)?\b.{0,20}(?:deliver|notice|mail|message)|not deliver(?:ed|able)",
    r"(?:could|can) ?not be delivered|non[- ]?deliver|delivery[- ]fail",
    r"(?:mail|message) (?:\S+ ){0,2}(?:fail|error|return|delay|undeliver|could not|not sent|rejected"
    r"|status|system error|frozen)",
    r"returned (?:mail|message|to sender)|return(?:ed|ing) (?:mail|message|to sender)|bounce|\bndn\b",
    r"\bndr\b",
    r"warning: (?:could not|message|mail|\S+@\S+)|user unknown|unknown (?:user|recipient)",
    r"error sending|sending (?:your )?mail|(?:message|mail|delivery) status|mail could not",
    r"sorry, your message",
    r"non (?:remis|distribu|livr|recapitat|consegnat)|[eé]chec|impossible de remettre|non[- ]remise",
    r"mancata consegna|impossibile (?:recapitare|consegnare)|avviso di mancato",
    r"no (?:se )?(?:pudo |ha podido )?(?:ser )?(?:entreg|enviad)|no entregad|devuelt",
    r"error (?:de|en|al) (?:la )?(?:entrega|env)|fallo (?:de|en) (?:la )?entrega",
    r"n[aã]o (?:foi |p[oô]de ser )?(?:entregue|pode ser)|falha n?a?|devolv|mensagem n[aã]o",
    r"(?:ei toimitettu|levererades inte|kunde inte levereras|ikke leveret|ikke levert|kunne ikke lever"
    r"|nie dostarczono|niedostarcz|nedoru[cč]|kézbesíthetetlen|iletilemedi|teslim edilemedi|nelivrat"
    r"|не доставлен|недоставлен|не может быть доставлен|возврат|ошибка доставки|невозможно доставить)",
    r"配信(?:不能|できません|エラー|失敗)|配信に失敗|送信(?:できません|エラー|失敗)|送信でき|不達",
    r"届きません|未送達|エラーメール|退信|投递失败|无法投递|系统退信|传送失败",
    r"未送达|無法(?:傳送|投遞|遞送)|退件|未傳遞|반송|전송 ?실패|배달(?:되지| 실패|할 수)|전달되지",
    r"발송 ?실패|ไม่สามารถส่ง",
)
#: Subjects of reports that all went well.
SUCCESSES = Phrases(
    r"success|\(relay\w*\)|\brelayed\b|^(?:delivered|zugestellt|entregado|remis)\b:?|配信完了|已送达",
)
#: Lines that begin the list of those who did not get the message, or that say that it did not arrive.
FAILURES = Phrases(
    r"(?:could|can|was|were|did|has|have|will)(?: ?n[o']t|not) (?:be |been )?(?:\S+ ){0,2}(?:deliver|sent"
    r"|reach|transmit|receiv|process|forward|relay|accept|find|send)",
    r"(?:unable|not able|wasn't able|weren't able|inability|failed|impossible) to (?:\S+ ){0,3}(?:deliver"
    r"|send|reach|relay|contact|transmit|find|process|complete)",
    r"(?:delivery|transmission|mail|message|e-?mail) (?:\S+ ){0,8}(?:fail|error|abort|undeliver|problem"
    r"|rejected|refused|returned|bounced|unsuccessful|couldn'?t|not possible|is not possible)",
    r"fail(?:ed|ure)? (?:\S+ ){0,3}(?:recipient|address|deliver|reason)",
    r"(?:following|intended|these) (?:\S+ ){0,3}(?:recipient|address|user|person|destination|mailbox)",
    r"permanent(?:ly)? (?:fatal |delivery |non-?fatal )?(?:error|fail)|fatal error",
    r"undeliver(?:ed|able)|did not receive|did not reach|had (?:permanent|delivery|fatal) |nondeliver",
    r"non-?deliver|not delivered|returned (?:mail|message|to)",
    r"no such user|user unknown|unknown user|there is no user|does(?: ?n[o']t| not) exist",
    r"was rejected|has been rejected|were affected|error(?:s)? (?:while|when|during|in|sending)",
    r"your message (?:to|was|has|could)|wasn'?t delivered|couldn'?t be|can'?t be (?:delivered|found)",
    r"address not found|invalid final|mailbox is full|over quota|boun[cs]ed",
    r"nicht (?:zugestellt|ausgeliefert|erreicht|zustell\w+|übermittelt|geliefert|gesendet|versendet"
    r"|weitergeleitet)",
    r"unzustellbar|zustellung.{0,60}(?:fehl|nicht|unm[oö]g)|folgende[nr]? (?:adresse|empf|e-?mail)",
    r"fehlgeschlagen|konnte nicht",
    r"n'(?:a|ont) pas (?:pu |été )|n'a pu",
    r"impossible de (?:remettre|distribuer|d[eé]livrer|livrer|transmettre)|non (?:remis|distribu)",
    r"(?:destinataires?|adresses?) suivant|[eé]chec (?:de|d')|échou",
    r"no (?:se )?(?:ha |han |pudo |pudieron |puede |fue )?(?:podido )?(?:ser )?(?:entreg|enviad|hacer llegar)",
    r"(?:destinatarios?|direccion(?:es)?) siguientes?|siguientes? (?:destinatari|direcci)|fall[oó]",
    r"no entregad|rechazad",
    r"n[aã]o (?:foi|foram|p[oô]de|puderam|pode|conseguimos|é possível)(?: ser)?",
    r"(?:destinat[aá]rios?|endere[cç]os?) (?:a seguir|abaixo|seguinte)|seguintes? (?:destinat|endere)",
    r"falh(?:a|ou)|non (?:[eè] stato|[eè] possibile|sono stati|ha potuto|pu[oò]|recapitat|consegnat)",
    r"impossibile (?:recapitare|consegnare|inviare)|seguent[ei] (?:destinatar|indirizz)|mancata",
    r"niet (?:worden |kunnen |kon |bezorgd|afgeleverd|verzonden|bestel)",
    r"volgende (?:ontvanger|adres|geadresseerde)|onbestelbaar",
    r"nie (?:została|można|udało|mogła|dostarcz)|następując|nie dostarczon|kunde inte|kunne ikke",
    r"ikke (?:leveret|levert|afleveres)|följande mottagare|følgende (?:modtager|mottaker)|ei voitu",
    r"nebyl[aoy]? doru|nelze doru|nepodařilo|následující|nem (?:lehet|sikerült|volt)|teslim edilemedi",
    r"iletilemedi|gönderilemedi|ulaştırılamadı|nu a putut|δεν (?:ήταν|μπόρεσε|παραδόθηκε)",
    r"не (?:может быть|было|удалось|был[аио]?|доставлен|смог)|невозможно",
    r"следующ(?:им|ие|их|его|ему) (?:адрес|получател)|недоставлен|не доставлен|отклонен",
    r"(?:配信|送信|配達|お届け|転送|送達)(?:は|が|を|に|する(?:こと|事)が?)?(?:でき|出来|不能|失敗|エラー)",
    r"(?:配信|送信|配達|送達)され(?:ませ|な|て(?:い)?ませ)|失敗しました|届け(?:られ|でき)|届きません|不達",
    r"以下の(?:宛先|アドレス|メールアドレス|受信者|メンバー|あて先)",
    r"次の(?:宛先|受信者|あて先|アドレス)|存在しません|見つかりません",
    r"(?:无法|未能|不能|没有)(?:成功)?(?:投递|发送|送达|传送|递送|到达|将|被|找到)|投递失败|发送失败",
    r"退回|退信|以下(?:收件人|地址|用户)|下列(?:收件人|地址)",
    r"不存在|無法(?:傳送|投遞|遞送|送達|寄)|(?:傳送|投遞|遞送)失敗|退件|未(?:送达|送達|傳送)",
    r"(?:전송|배달|전달|발송|송신)(?:되지|하지|할 수|에 실패|이 실패| 실패|을 실패)|다음 (?:받는|수신)|반송|존재하지",
    r"ไม่สามารถ|تعذر|לא ניתן|không (?:thể|được|tồn tại)|tidak (?:dapat|terkirim|bisa)|gagal",
)
#: Still tried, without doubt.
DELAYS = Phrases(
    r"not yet been (?:successfully )?deliver",
    r"(?:has|have|was|been) (?:temporarily )?(?:delay|postpone|deferred)",
    r"(?:message|delivery|mail)\S* (?:\S+ ){0,3}delayed",
    r"delivery (?:attempts )?will (?:continue|be (?:retried|re-?attempted|repeated))",
    r"will (?:continue|keep) (?:trying|retrying|attempting|to (?:try|attempt|retry|be))",
    r"still (?:being )?(?:retr|tr(?:y|ied)|in the queue|queued)|could not send message for past",
    r"warning message only|just a warning|this is (?:only )?a warning|advisory[- ]only",
    r"no action is required|you do not need to (?:resend|take|do)|do not need to resend",
    r"delivery incomplete|(?:gmail|server|we|system) will (?:retry|try (?:again|to (?:re)?send))",
    r"will be retried|will retry for",
    r"noch nicht (?:zugestellt|ausgeliefert)|verz[oö]gert|weiterhin versucht",
    r"wird (?:weiter|erneut) versucht|(?:a été|est) retard[eé]",
    r"sera(?:ont)? (?:de nouveau|renouvel|poursuivi)|aún no (?:se )?ha|se ha retrasado",
    r"se (?:seguir[aá]|volver[aá])|ainda n[aã]o (?:foi|p[oô]de)|atrasad|ser[aá] (?:tentad|feita nova)",
    r"non (?:è )?ancora (?:stato|possibile)|ritardat|è in ritardo|vertraagd",
    r"nog niet (?:bezorgd|afgeleverd)|opóźnion|jeszcze nie|fördröj|forsinket|viivästy|zpožděn",
    r"ещ[её] не (?:было )?доставлен|задерж(?:ан|ива)|будут продолжены|попытки .{0,30}продолж",
    r"遅延|遅れて|再送(?:を|信を)?(?:試み|行い|続け)|まだ(?:配信|送信)されて|延迟|延误|延遲",
    r"将继续(?:尝试|重试|投递)|稍后(?:将)?重试|지연|다시 시도(?:합니다|할)",
)
#: Not any more, though the words before may say that it was late.
FINALITIES = Phrases(
    r"permanent(?:ly)? (?:error|fail|fatal|undeliver|reject)|this is a permanent|i've given up",
    r"(?:has|have|been|is|are|were) (?:giving|given|gave) up|giving up on",
    r"(?:no further|not going to|will not|won'?t|cannot|no more|stopped) (?:be )?(?:deliver\w* attempt"
    r"|attempt|try|retr|re-?tr)",
    r"fatal error|endgültig|définitiv|dauerhaft|definitivamente|permanente (?:fout|fehler)",
    r"постоянная ошибка|失敗しました",
)
#: Subjects of vacation notes and other automatic answers.
ANSWERS = Phrases(
    r"out of (?:the )?office|\booo\b|away from",
    r"auto(?:matic|mated)?[- ]?(?:reply|response|respond|antwort|answer)|autoreply|auto:|vacation",
    r"on holiday|on leave|absen[ct]e|abwesen|nicht (?:im (?:b[uü]ro|haus)|am platz)|im urlaub",
    r"automatische (?:antwort|r[eé]ponse)|r[eé]ponse automatique|en cong[eé]|respuesta autom",
    r"fuera de (?:la )?oficina|vacaciones|ausente|resposta autom|fora do escrit|f[eé]rias",
    r"risposta automatica|fuori (?:sede|ufficio)|assenza|in ferie|afwezig|automatisch antwoord",
    r"niet aanwezig|automatyczna odpowied|nieobecno|urlop|autosvar|automatiskt svar|fr[aå]nv",
    r"ikke til stede|poissa|automaattinen|mimo kancel|automatick|otomatik (?:yan|cevap)|автоответ",
    r"автоматический ответ|отпуск|отсутств|不在|自動(?:返信|応答)|自动(?:回复|答复)|自動回覆|休假",
    r"外出|부재|자동 ?(?:응답|회신)",
    r"(?:thank you|thanks) for (?:your|contacting)|we (?:have )?received your",
    r"your (?:request|ticket|message) (?:has been|was) received|\[ticket|case #|request received",
    r"eingangsbest|nous avons bien re[cç]u|hemos recibido",
)
#: Challenges: a person's filter wants to see that a person wrote.
CHALLENGES = Phrases(
    r"(?:please )?(?:confirm|verify|validate|authenticate) (?:\S+ ){0,4}(?:message|e-?mail|mail|sender"
    r"|address|you are|that you|delivery|yourself)",
    r"(?:challenge|sender|human|message) (?:verification|confirmation|validation)",
    r"confirmation (?:required|needed|request)|awaiting (?:your )?(?:confirmation|approval)|whitelist",
    r"approved sender|(?:click|follow) .{0,60}(?:deliver|release|verify|confirm) ",
    r"anti-?spam (?:system|filter|uol)|spam ?arrest|boxbe|tmda|bluebottle|mailblocks",
    r"not (?:yet )?(?:on|in) my (?:\S+ )?(?:list|contacts)|held (?:until|pending|for)|quarantin",
)
#: Lines that begin the returned message, after white space and frames are gone.
RETURNED = Phrases(
    r"(?:begin |start of |below (?:is|this line is)|here is |this is |included is |following is "
    r"|attached is |the following is )?(?:a |the )*(?:original|returned|copy|undelivered|unsent|bounced"
    r"|undeliverable|rejected|forwarded|failed) (?:\S+ ){0,6}(?:message|mail|headers?|text|follows?|body"
    r"|e-?mail|info)\b(?!.{0,40}(?:could not|was not|received at|did not|to |details:))",
    r"(?:message|mail) (?:headers?|text|body|contents?|source|log)? ?(?:follows?|below|attached)\b",
    r"headers? (?:of the|from the)? ?(?:original )?(?:message|mail)? ?(?:follows?|below)",
    r"(?:a )?copy of (?:the|your) (?:original )?(?:message|mail|e-?mail)",
    r"(?:message|mail|original) header|the header|body of message|your message reads",
    r"returned (?:message|mail)|original message|unsent message|old message|message attached",
    r"end of message|original-nachricht",
    r"(?:urspr[uü]ngliche|original)[- ]?(?:nachricht|mail|e-?mail)|kopie (?:der|ihrer)",
    r"(?:hier )?(?:folgt|beginnt) .{0,40}(?:nachricht|kopie|mail)|message (?:d')?origin(?:e|al)",
    r"copie (?:du|de votre) message|mensaje original|copia del? (?:mensaje|messaggio)",
    r"messaggio originale|mensagem original|oorspronkelijk(?:e)? bericht|oryginalna wiadomo",
    r"исходное (?:сообщение|письмо)|копия (?:сообщения|письма|вашего)|текст письма|元のメール|原メール",
    r"以下(?:は|に)?.{0,12}(?:元|オリジナル|原文)|原始(?:邮件|郵件|信件)",
    r"(?:原信|原文|邮件|信件)(?:内容|如下|附件)|원본 ?메시지|원본 ?메일",
)
