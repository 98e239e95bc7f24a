"""The parameters of each kind of task, one kind a file. A new kind is a line here, one in `core/task.py`, and one in
`scheduler/kinds`, where it is done."""

from collections.abc import Mapping

from shared.contracts.bodies import Body
from shared.contracts.task_kinds.digest import DigestParameters
from shared.contracts.task_kinds.dns_check import DnsCheckParameters
from shared.contracts.task_kinds.held_members import HeldMembersParameters
from shared.contracts.task_kinds.held_posts import HeldPostsParameters
from shared.contracts.task_kinds.member_sync import MemberSyncParameters
from shared.contracts.task_kinds.purge import PurgeParameters
from shared.contracts.task_kinds.roll_up import RollUpParameters
from shared.contracts.task_kinds.start_newsletter import StartNewsletterParameters
from shared.core.task import TaskKind

PARAMETERS: Mapping[TaskKind, type[Body]] = {
    TaskKind.PURGE: PurgeParameters,
    TaskKind.MEMBER_SYNC: MemberSyncParameters,
    TaskKind.HELD_POSTS: HeldPostsParameters,
    TaskKind.ROLL_UP: RollUpParameters,
    TaskKind.DNS_CHECK: DnsCheckParameters,
    TaskKind.START_NEWSLETTER: StartNewsletterParameters,
    TaskKind.DIGEST: DigestParameters,
    TaskKind.HELD_MEMBERS: HeldMembersParameters,
}
