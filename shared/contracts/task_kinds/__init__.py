"""The parameters of each kind of task, one kind a file. A new kind is a line here, one in `core/task.py`, and one in
`scheduler/kinds`, where it is done."""

from collections.abc import Mapping

from shared.contracts.bodies import Body
from shared.contracts.task_kinds.held_members import HeldMembersParameters
from shared.contracts.task_kinds.held_posts import HeldPostsParameters
from shared.contracts.task_kinds.member_sync import MemberSyncParameters
from shared.contracts.task_kinds.purge import PurgeParameters
from shared.core.task import TaskKind

PARAMETERS: Mapping[TaskKind, type[Body]] = {
    TaskKind.PURGE: PurgeParameters,
    TaskKind.MEMBER_SYNC: MemberSyncParameters,
    TaskKind.HELD_POSTS: HeldPostsParameters,
    TaskKind.HELD_MEMBERS: HeldMembersParameters,
}
