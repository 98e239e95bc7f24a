"""Many members at once, as imports bring them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.store.engine import RawConnection, fetch_one
from shared.store.members import LEFT_DIGESTS_AT, NewMember


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """What became of the good rows of an import."""

    added: int
    updated: int
    #: Known as unsubscribed, held or suppressed: left as they are.
    left_alone: int


async def wait_for_other_imports(connection: RawConnection, list_id: int) -> None:
    """Until the transaction ends nobody else imports into the list: two imports in different orders would deadlock."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('listfleet import', $1))", list_id)


async def import_rows(connection: RawConnection, list_id: int, rows: Sequence[NewMember]) -> ImportCounts:
    """Add or update `rows` (distinct by key) in one statement; who left, is held or suppressed stays so.

    An update takes over the row's spelling, name, fields, mode and role. A suppressed address is not added.
    """
    result = await fetch_one(
        connection,
        f"""
        WITH given AS (
            SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::member_status[], $6::delivery_mode[],
                                 $7::member_role[], $8::text[])
                   AS t (email, email_key, display_name, status, delivery_mode, role, fields)
        ), allowed AS (
            SELECT given.* FROM given
            WHERE NOT EXISTS (SELECT FROM suppressions s WHERE s.email_key = given.email_key
                              AND (s.ends_at IS NULL OR s.ends_at > now()))
        ), written AS (
            INSERT INTO members AS m
                   (list_id, email, email_key, display_name, status, delivery_mode, role, fields)
            SELECT $1, email, email_key, display_name, status, delivery_mode, role, fields::jsonb FROM allowed
            ON CONFLICT (list_id, email_key) DO UPDATE
               SET email = excluded.email, display_name = excluded.display_name, fields = excluded.fields,
                   delivery_mode = excluded.delivery_mode, role = excluded.role, status = excluded.status,
                   left_digests_at = {LEFT_DIGESTS_AT.format(mode="excluded.delivery_mode")}
             WHERE m.status = 'subscribed'
            RETURNING xmax = 0 AS is_new
        )
        SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS updated FROM written
        """,
        list_id,
        [row.email for row in rows],
        [row.email_key for row in rows],
        [row.display_name for row in rows],
        [row.status.value for row in rows],
        [row.delivery_mode.value for row in rows],
        [row.role.value for row in rows],
        [row.fields_json for row in rows],
    )
    added, updated = int(result["added"]), int(result["updated"])
    return ImportCounts(added=added, updated=updated, left_alone=len(rows) - added - updated)
