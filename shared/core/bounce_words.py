"""What servers say when they refuse, by what it means. One phrase a line: patterns in lower case, tried in this order.

The order matters: what is said of the sender or of the content is no word about the recipient's address, and a full
mailbox is there. The classes may come twice, the sure phrases before the vague ones of other classes.
"""

from __future__ import annotations

#: Up to so many words between two that belong together.
_FEW = r"(?:\S{1,40} ){0,4}"
_WHO = (
    r"\b(?:user|recipient|mail ?box|account|addressee|address|e-?mail(?: address| account)?|member"
    r"|customer|alias|inbox"
    r"|login|userid|user id|mail drop|maildrop)\b"
)
_IS_GONE = (
    r"(?:unknown|not (?:be )?found|not exist|no longer|not known|invalid|non-?existent|not (?:a )?valid|not listed"
    r"|not recogni[sz]ed|undeliverable|terminated|discontinued|disabled|deactivated|deleted"
    r"|closed|removed"
    r"|moved away|not active|does ?n[o']t exist)"
)

POLICY_SENDER = (
    r"sender (?:address )?(?:rejected|denied|verif|unknown|is not|not |refused|domain)",
    r"(?:could not|cannot|can't|unable to|failed to) verify (?:the )?sender",
    r"verification failed for <|callout|sender'?s? (?:policy|id|must)|domain of sender",
    r"\b(?:dkim|dmarc|spf)\b",
    r"return[- ]path|reverse-path",
    r"unauthenticated (?:e-?)?mail|(?:authentication|starttls|encryption|tls)\b (?:is )?(?:required|failed|needed)",
    r"mail from .{0,80}(?:does not|reject|invalid|unknown)",
    r"not (?:authorized|authorised|permitted|allowed) to (?:send|post|e-?mail|write)",
    r"you(?:r (?:address|e-?mail|domain))? (?:are|is|have) not .{0,30}(?:member|permi|allowed|authori[sz]ed)",
    r"restricted .{0,40}(?:sender|who can|group|list)|only accepts? (?:mail|messages?|e-?mails?) from",
)
BLOCKED = (
    r"(?:black|block|deny|reject|drop)[- ]?list",
    r"\b(?:rbl|dnsbl|spamhaus|spamcop|barracudacentral|sorbs|surbl|senderbase|senderscore|cloudmark)\b",
    r"(?:client )?host (?:\S{1,80} )?(?:rejected|blocked|banned)",
    r"\b(?:your|sending|client|source|the|from) " + _FEW + r"(?:ips?|host|server|network)\b.{0,60}"
    r"(?:block|bann|listed|reputation|denied|refused|reject)",
    r"\bip(?: address)? " + _FEW + r"(?:is |has been |was )?(?:block|bann|listed|den)",
    r"reputation|banned sending|from (?:this|your) ip\b",
    r"reverse dns|\bptr\b|\brdns\b|reverse (?:lookup|hostname)|cannot find your (?:reverse )?hostname",
    r"\b(?:helo|ehlo)\b.{0,60}(?:reject|invalid|host not found|denied)",
    r"too many (?:messages|connections|e-?mails|mails|requests|concurrent|errors|invalid)",
    r"rate[- ]?limit|throttl|receiving mail (?:at a rate|too quickly)|sending (?:rate|too fast)"
    r"|unusual(?:ly)? (?:rate|high)",
    r"gr[ea]y-?list|temporarily deferred due to|unexpected volume|user complaints",
    r"\[(?:ts|tss|gl)\d\d\]|dynamic (?:ip|address)|dial-?up|because of the country|suspicious (?:smtp )?activity",
)
SPAM = (
    r"\bspam(?!haus|cop)|\bunsolicited\b|\bjunk (?:e-?)?mail\b|\bbulk (?:e-?)?mail\b",
    r"\bvirus|malware|phishing|infected|trojan",
    r"(?:message|mail|content) (?:\S{1,40} ){0,3}(?:identified|classified|considered|suspected|detected"
    r"|categorized) as",
    r"content (?:filter|reject|restriction|not allowed)|rejected (?:due to|for|because of) (?:\S{1,40} )?content",
    r"垃圾邮件|垃圾郵件|迷惑メール|スパム|спам|스팸",
)
EXPIRED_SURELY = (
    r"in (?:the )?queue (?:for )?too long|too (?:old|long) in (?:the )?queue|(?:queue|message|delivery) lifetime",
    r"(?:delivery|message|retry|transmission) (?:\S{1,40} ){0,3}(?:time[d-]? ?-?(?:out|expired)|timeout|expired)",
    r"retry (?:timeout exceeded|time not reached)|all hosts .{0,30}have been failing",
)
MAILBOX_FULL = (
    r"(?:mail ?box|inbox|mail ?folder|account|user|recipient|recipient's|mail ?drop|maildir|storage)\S{0,60} "
    r"(?:\S{1,60} ){0,5}(?:full\b|over ?-?quota|exceed|out of (?:storage )?space|overflow)",
    r"\bover[- ]?(?:its |the |his |their |disk |mail |storage )?(?:quota|stored|storage)|overquota",
    r"quota violation|quota ?exceeded",
    r"quota(?: \S{1,40}){0,4} (?:exceed|full|reached)|exceed\w* (?:\S{1,40} ){0,5}(?:quota|storage|mailbox"
    r"|local limit)",
    r"(?:disk|storage|mailbox) quota|not enough (?:\S{1,20} )?(?:space|storage|disk)",
    r"insufficient (?:\S{1,20} )?(?:disk|storage|space|quota)",
    r"mail ?box (?:is )?full|full mail ?box|mail ?box size|storage (?:limit|full|space)|space not enough"
    r"|no space left",
    r"(?:postfach|mailbox|speicherplatz|briefkasten).{0,40}(?:\bvoll|überfüllt|erschöpft|überschritten)",
    r"bo[iî]te.{0,60}(?:pleine|satur)|quota.{0,20}(?:dépassé|atteint|superata|excedid)",
    r"(?:buz[oó]n|casilla|cuota).{0,60}(?:llen[oa]|excedid|superad)|casella.{0,60}piena|(?:caixa"
    r"|cota).{0,60}(?:cheia|excedid)",
    r"(?:mailbox|postvak|postbus).{0,30}\bvol\b|skrzynka.{0,60}(?:pełna|przepełniona)",
    r"переполнен|ящик.{0,60}полон|превышен.{0,20}(?:квот|лимит|размер ящик)",
    r"(?:メールボックス|受信箱).{0,20}(?:いっぱい|一杯|容量|満杯)|容量.{0,10}(?:超|オーバー)|(?:空间"
    r"|空間)(?:不足|已满|已滿)",
    r"(?:邮箱|信箱|容量)已[满滿]|편지함.{0,12}초과|용량.{0,8}초과|posta kutusu.{0,30}dolu|kota.{0,20}aş",
    r"schránka.{0,40}(?:plná|přeplněn)|postafiók.{0,30}megtelt|inkorgen.{0,20}full|postkass\w*.{0,20}full",
)
TOO_BIG = (
    r"\b(?:message|mail|e-?mail|size|content|data|attachment)s?\b (?:\S{1,40} ){0,6}too (?:big|large|long)",
    r"\b(?:message|mail|e-?mail|size|content|data|attachment)s?\b (?:\S{1,40} ){0,4}exceed\w* (?:\S{1,40} ){0,6}"
    r"(?:size|limit|maximum|length)",
    r"(?:message|mail|content) size|exceeds (?:the )?(?:maximum|fixed|size)|larger than|size limit|\btoo large\b",
    r"nachricht.{0,30}zu gro[sß]|trop (?:volumineux|gros)|demasiado grande|troppo grande|muito grande|te groot",
    r"слишком больш|サイズ.{0,12}(?:超|大き)|邮件(?:太大|过大)|郵件(?:太大|過大)|za du[zż]a|příliš velk",
)
RELAY = (
    r"relay(?:ing)?\b.{0,40}(?:denied|prohibited|not (?:allowed|permitted|available)|rejected|refused)",
    r"(?:unable|not permitted|not allowed|not authori[sz]ed|cannot|can't|refuse|don't|not|denied|no)(?: to)? relay",
    r"rcpthosts|in my control/locals|we do not (?:accept|handle) mail for|domain not hosted|not hosted here",
    r"mail for (?:this domain|\S{1,80}) (?:is )?not accepted|not a (?:local|gateway) (?:host|domain)",
)
SUSPENDED = (
    r"(?<!delivery )(?:temporarily|currently) (?:suspended|disabled|locked|inactive|unavailable|limited|blocked|closed"
    r"|not accept)",
    _WHO + r"(?:\S{0,80}) (?:\S{1,40} ){0,6}(?:suspended|locked|frozen|on hold|inactive|dormant)\b",
)
NO_SUCH_USER = (
    r"(?:\bno|not an?|isn't an?|unknown|invalid|nonexistent|non-existing|incorrect|wrong) (?:such |local "
    r"|valid |known |active "
    r"|virtual |destination |final delivery |or illegal )*" + _WHO,
    _WHO + r"(?:\S{0,80} ){1,2}" + _FEW + _IS_GONE,
    r"(?:user|recipient|mailbox|account|address)[:>\"')\]]{0,3} ?(?:is )?" + _IS_GONE,
    r"(?:doesn't|does not|don't|do not|didn't|did not) (?:\S{1,40} ){0,3}(?:exist"
    r"|have an? (?:\S{1,40} ){0,5}(?:account|mailbox))",
    r"\bno (?:longer|more) (?:\S{1,40} ){0,4}(?:exist|valid|active|here|available|in use|work|employ|with)",
    r"\bno (?:mail ?box|account|one|person|user|recipient)s?\b.{0,30}(?:here|by that name|with that|found"
    r"|this name)",
    r"there is no (?:user|one|account|mailbox|such|person)|user not (?:local|known)|not our customer",
    r"not listed in|adr\.(?:recip|ex)not|recipientnotfound|recipnotfound|nosuchuser|551 not our",
    r"recipient address rejected: (?:access denied|undeliverable|invalid|unknown)|like recipient",
    r"unrout(?:e)?able (?:mail )?(?:address|user)|cannot route mail to user|address not present in directory",
    r"discontinued|dd (?:this user|sorry|requested)|mailbox (?:is )?disabled|account.{0,20}disabled",
    r"(?:account|mailbox|user) (?:\S{1,40} ){0,7}(?:disabled|deactivated|terminated)",
    r"couldn'?t be found|wasn'?t found|can'?t be found|address not found|name is not recogni[sz]ed"
    r"|unrecogni[sz]ed-?or",
    r"\brcp-p1\b|\bint-p[134]\b|mailbox unavailable",
    r"(?:empf[aä]nger|benutzer|adresse|postfach|mailbox|nutzer).{0,40}(?:unbekannt|nicht (?:gefunden"
    r"|vorhanden|bekannt|gültig|existiert))",
    r"existiert nicht|nicht gefunden|unbekannte[rn]? (?:benutzer|empf|adresse)|ungültige (?:adresse|e-?mail)",
    r"n'existe (?:pas|plus)|(?:utilisateur|destinataire|adresse).{0,40}(?:inconnu|introuvable|invalide"
    r"|non (?:recens|valide|trouv))",
    r"no existe|(?:usuario|destinatario|direcci[oó]n|buz[oó]n).{0,30}(?:desconocid|inexistente|inv[aá]lid"
    r"|no (?:se )?(?:ha )?encontrad)",
    r"non (?:esiste|valido)|(?:utente|destinatario|indirizzo|casella).{0,40}(?:sconosciut|inesistente"
    r"|non (?:valid|trovat))",
    r"n[aã]o existe|(?:usu[aá]rio|destinat[aá]rio|endere[cç]o).{0,40}(?:desconhecid|inexistente|inv[aá]lid"
    r"|n[aã]o encontrad)",
    r"bestaat niet|onbekende? (?:gebruiker|ontvanger|adres)|niet gevonden",
    r"nie istnieje|nieznany (?:u[zż]ytkownik|odbiorca|adres)|neexistuje|neznámý (?:uživatel|příjemce)",
    r"не существует|(?:пользовател|получател|адрес|ящик).{0,30}не найден|неизвестный (?:пользовател"
    r"|получател)|нет такого",
    r"ok[aä]nd (?:anv[aä]ndare|mottagare)|finns inte|findes ikke|finnes ikke|ukjent (?:bruker|mottaker)"
    r"|ukendt (?:bruger|modtager)",
    r"ei ole olemassa|tuntematon|nem l[eé]tezik|ismeretlen (?:felhaszn|c[ií]mzett)|nu exist[aă]|δεν υπάρχει",
    r"(?:kullan[ıi]c[ıi]|al[ıi]c[ıi]|adres).{0,30}(?:bulunamad|mevcut de[gğ]il|ge[cç]ersiz)|không tồn tại"
    r"|tidak (?:ditemukan|ada)",
    r"(?:宛先|ユーザ|アドレス|受信者|あて先).{0,24}(?:存在し(?:ません|ない)|見つか(?:りません|らない)|不明"
    r"|ありません|間違)",
    r"(?:用户|邮箱|地址|收件人|帐号|账号|账户).{0,12}(?:不存在|不正确|无效|未找到|找不到)|找不到(?:收件"
    r"|用户)|查無此|無此(?:用戶|帳號|使用者)",
    r"(?:使用者|收件者|收件人|帳號|信箱).{0,8}不存在|존재하지 ?않|없는 (?:사용자|계정|메일|주소)|찾을 수 없",
)
NO_SUCH_HOST = (
    r"\b(?:host|domain"
    r"|hostname)\b(?: or domain)?(?: names?)? ?[:\"'<\[(]{0,2}(?:[\w-]+(?:\.[\w-]+)+[\"'>\])]{0,2},? )?"
    r"(?:is |was |could |does |do )?(?:not found|unknown|n[o']t exist|not exist|invalid|non-?existent|not be found"
    r"|couldn't be found|not resolve)",
    r"(?:unknown|no such|invalid|bad|unresolv\w+|nonexistent|illegal) (?:\S{1,40} )?(?:host|domain)|nxdomain",
    r"\bnull ?mx\b|\bno (?:\S{1,40} )?mx\b|no valid (?:host|mail server)|couldn't find any host",
    r"mx records? (?:point|indicated|do)|mx or srv record|all host address lookups failed permanently"
    r"|no a(?: or mx)? record",
    r"domain.{0,40}does ?n[o']t accept (?:e-?)?mail|an mx or srv",
    r"(?:domain|domäne|domaine|dominio|domínio|домен).{0,50}(?:nicht (?:gefunden|gültig)|introuvable"
    r"|не (?:найден|существует))",
    r"(?:ドメイン|ホスト).{0,16}(?:存在しません|見つかりません|不明)|域名.{0,8}(?:不存在|错误|无法)"
    r"|找不到.{0,8}(?:域|主机)",
)
EXPIRED = (
    r"(?:not|unable to) (?:be )?deliver\w* (?:\S{1,40} ){0,4}(?:for|within|after"
    r"|in) (?:\S{1,40} ){0,3}\d+ ?(?:day|hour|d\b|h\b)",
    r"(?:giving|gave|given) up (?:after|on)|after (?:trying|\d+) (?:\S{1,40} ){0,3}(?:attempts|days|hours|tries)",
    r"failed \d+ attempts|maximum (?:retry|queue)|time expired|timed out after",
)
SYSTEM = (
    r"connect(?:ion|ing)?\b (?:\S{1,80} ){0,6}(?:timed? ?out|refused|reset|lost|failed|dropped|closed|died"
    r"|unexpectedly)",
    r"lost connection|no route to host|network (?:is )?unreachable|host (?:is )?unreachable|not respond"
    r"|no response|unresponsive",
    r"(?:could not|unable to|couldn't|can't|cannot|wasn't able to) (?:connect|establish)|smtp connection",
    r"\bloop|too many hops|hop count|received:? headers?|internal (?:server )?error|local (?:error"
    r"|configuration|delivery failed)",
    r"system (?:error|failure|problem)|service (?:is )?(?:not available|unavailable)|server (?:error|busy"
    r"|unavailable|down)",
    r"insufficient system|i/o error|permission denied|can(?:'t|not) create"
    r"|temporar\w* (?:\S{1,40} )?(?:failure|error|lookup|problem)",
    r"name (?:server|service|lookup)|resolv|protocol error|command (?:unrecogni[sz]ed|not implemented)"
    r"|bad (?:sequence|command)",
    r"unable to open|configuration error|unknown mailer|out of memory|try again later|timed out",
)
POLICY = (
    r"polic(?:y|ies)|access denied|not (?:accepted|allowed|permitted)|prohibited|administrative"
    r"|rejected (?:by|for)",
    r"(?:message|mail) (?:\S{1,40} ){0,3}(?:rejected|refused|denied)|blocked|attachment|not authori[sz]ed"
    r"|unauthori[sz]ed",
    r"authentication|restrict",
)
