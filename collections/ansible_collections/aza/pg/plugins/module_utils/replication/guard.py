# SPDX-License-Identifier: Apache-2.0
"""What must not be done to a member of a cluster: start a second primary, or remove the only copy of data. Pure.

A member that cannot be inspected may be the primary, and may have the only copy. Each function yields sentences
without their period; none means that nothing speaks against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.aza.pg.plugins.module_utils.replication.topology import REPLICA, Member
from ansible_collections.aza.pg.plugins.module_utils.server import positions


def deploy(
    host: str, members: Sequence[Member], primary_planned: bool = False, chosen: str = ""
) -> Iterator[str]:
    """Why a deploy must not touch this member.

    ``primary_planned``: in check mode, a run would create the primary that does not exist yet. ``chosen``: which
    of several stopped primaries the operator says is right (``start_primary``).
    """
    me, others = _split(host, members)
    live = _live(members)
    if len(live) > 1:
        which = ", ".join(f"{it.host} (timeline {(it.facts or {}).get('timeline')})" for it in live)
        yield (
            f"two servers of the cluster are primaries: {which}. Their data diverges with every transaction. Stop "
            "the one "
            "that you want to discard (stop.yml --limit HOST), and deploy again"
        )
        return
    yield from _other_clusters(me, others)
    if me.writes:
        return
    if me.has_data and me.may_write:
        yield from _second_primary(me, others, chosen)
    elif not live:
        yield from _without_a_primary(me, others, primary_planned)


def start(host: str, members: Sequence[Member], chosen: str = "") -> Iterator[str]:
    """Why the stopped server of this member must not be started. A standby's always may: it follows."""
    me, others = _split(host, members)
    if me.writes:
        return
    if not me.has_data:
        yield f"{host} holds no data, so starting it could create an empty server. Deploy it"
    elif me.may_write:
        yield from _second_primary(me, others, chosen)


def primary(host: str, members: Sequence[Member], chosen: str = "") -> str:
    """Return why this member's server must not be started as a primary, whatever is found on its host by then; empty
    when it may."""
    me, others = _split(host, members)
    return "; ".join(_second_primary(me, others, chosen))


def vouched(members: Sequence[Member], names: Sequence[str]) -> Iterator[str]:
    """Why what the operator says of members (``not_primary``) is not so."""
    for member in members:
        if member.host in names and member.known and member.may_write:
            state = "writes" if member.writes else f"has a primary's data ({member.why})"
            yield f"not_primary names {member.host}, and {member.host} {state}"


def _split(host: str, members: Sequence[Member]) -> tuple[Member, list[Member]]:
    me = next(member for member in members if member.host == host)
    return me, [member for member in members if member is not me]


def _live(members: Sequence[Member]) -> list[Member]:
    return [member for member in members if member.writes]


def _unknown(members: Sequence[Member]) -> list[Member]:
    return [member for member in members if not member.known and not member.vouched]


def _named(members: Sequence[Member]) -> str:
    return ", ".join(f"{member.host} ({member.why})" for member in members)


def _ways_out(unknown: Sequence[Member]) -> str:
    names = ",".join(member.host for member in unknown)
    return (
        "Start it, or remove it from the inventory if its host no longer exists. If you have made sure that it does "
        f"not write and will not, add -e not_primary={names}"
    )


def _second_primary(me: Member, others: Sequence[Member], chosen: str) -> Iterator[str]:
    """Why a server with a primary's data, which does not write now, must not be started."""
    live = _live(others)
    if live:
        yield (
            f"{me.host} has a primary's data and does not run ({me.why}), and {live[0].host} is the primary: if "
            f"started, it would be a second primary. Remove its data (remove.yml --limit {me.host} "
            "-e confirm=CLUSTER -e remove_data=CLUSTER) and deploy it as a replica"
        )
        return
    unknown = _unknown(others)
    if unknown:
        yield (
            f"{me.host} has a primary's data and does not run ({me.why}), and it is unknown whether another "
            f"member is the primary: {_named(unknown)}. {_ways_out(unknown)}"
        )
    if chosen == me.host:
        return
    rivals = [other for other in others if other.known and other.may_write]
    if rivals:
        which = ", ".join(f"{it.host} ({it.place}; {it.why})" for it in (me, *rivals))
        yield (
            f"{me.host} and {', '.join(it.host for it in rivals)} have a primary's data and none of them runs as "
            "a primary: "
            f"{which}. The highest timeline was promoted last. Decide which one to keep and start it "
            "(start.yml --limit HOST -e start_primary=HOST), and deploy again"
        )
    newer = [other for other in others if other not in rivals and _is_newer(other, me)]
    if newer:
        which = ", ".join(f"{it.host} ({it.place})" for it in newer)
        yield (
            f"{me.host} has a primary's data ({me.place}), and another server was promoted since: {which}. Start that "
            "one's primary, or promote it. If you want to keep this data, add "
            f"-e start_primary={me.host}"
        )


def _is_newer(other: Member, me: Member) -> bool:
    timelines = [(member.facts or {}).get("timeline") or 0 for member in (other, me)]
    return bool(timelines[1]) and int(timelines[0]) > int(timelines[1])


def _other_clusters(me: Member, others: Sequence[Member]) -> Iterator[str]:
    mine = (me.facts or {}).get("system_identifier")
    for other in others:
        theirs = (other.facts or {}).get("system_identifier")
        if mine and theirs and mine != theirs:
            yield (
                f"{me.host} and {other.host} hold data of different clusters (system identifiers {mine} and {theirs}); "
                "correct the declared cluster of one of them, or remove its data first"
            )


def _without_a_primary(me: Member, others: Sequence[Member], primary_planned: bool) -> Iterator[str]:
    with_data, unknown = [other for other in others if other.has_data], _unknown(others)
    if with_data:
        yield (
            f"no member of the cluster is a primary, and other members have data: {_named(with_data)}. Start its "
            "primary, or "
            "promote a standby, and deploy again"
        )
    elif unknown:
        yield f"it is unknown whether there is a primary: {_named(unknown)}. {_ways_out(unknown)}"
    elif me.stack == REPLICA and not primary_planned:
        yield "there is no primary yet: deploy that first (deploy-primary.yml), or everything (deploy.yml)"


# -- removing data ---------------------------------------------------------------------------------------------------


def remove_data(host: str, members: Sequence[Member], cluster: str, accepted: str = "") -> Iterator[str]:
    """Why the data of this member must not be removed: other members need it, or none of them is known to have
    everything that it holds. ``accepted``: the member whose loss the operator accepts (``accept_loss``)."""
    me, others = _split(host, members)
    if me.known and not me.has_data:
        return
    unknown, with_data = _unknown(others), [other for other in others if other.has_data]
    if not unknown and not with_data:
        # The last copy, whose removal was confirmed by the cluster's name.
        return
    if me.writes:
        yield (
            f"{host} is the primary of {cluster}, and other members have or may have data: "
            f"{_named([*with_data, *unknown])}. Remove the data of "
            "its replicas first, or promote one of them"
        )
        return
    if accepted == host:
        return
    best = _best(me, others)
    accept = f"Save what you need. To remove it anyway, add -e accept_loss={host}"
    if best is None:
        yield (
            f"it is unknown whether another member has all data of {host} ({me.place}), because none is "
            f"known to be the primary: {', '.join(map(_described, [*with_data, *unknown]))}. Start, promote or "
            f"bring up one. {accept}"
        )
        return
    yield from _lost(me, best, accept)


def _described(member: Member) -> str:
    answers = (member.facts or {}).get("answers")
    return f"{member.host} ({f'a standby, {member.place}' if answers else member.why})"


def _best(me: Member, others: Sequence[Member]) -> Member | None:
    """The member whose data counts: the primary that writes; for a standby's data also a stopped primary, if all other
    members are known. (Two stopped primaries would each be a reason to remove the other.)"""
    live = _live(others)
    if not live and not me.may_write and not _unknown(others):
        live = [other for other in others if other.has_data and other.may_write]
    return live[0] if len(live) == 1 else None


def _lost(me: Member, best: Member, accept: str) -> Iterator[str]:
    mine, its = me.facts or {}, best.facts or {}
    if mine.get("system_identifier") and mine["system_identifier"] != its.get("system_identifier"):
        yield f"{me.host} holds data of another cluster than {best.host}, which has none of it. {accept}"
        return
    standby = mine.get("in_recovery") if mine.get("answers") else mine.get("standby")
    same = mine.get("timeline") and mine.get("timeline") == its.get("timeline")
    if standby is True and same and best.writes:
        # What a standby has, its primary wrote. (Their positions were not read at the same moment.)
        return
    # Two primaries on one timeline: one was made without a promotion, and nothing tells where they went apart.
    lost = None if same and standby is not True else positions.missing(mine, its)
    between = f"{me.host}: {me.place}; {best.host}: {best.place}"
    if lost is None:
        yield f"whether {best.host} has everything that {me.host} holds is unknown ({between}). {accept}"
    elif lost:
        yield (
            f"{me.host} holds {_size(lost)} of WAL that {best.host} lacks ({between}): the transactions in it would "
            f"be lost. {accept}"
        )
    elif not mine.get("exact") or (standby is True and me.delay and not mine.get("answers")):
        yield (
            f"{me.host} may hold transactions that {best.host} lacks: its server was not shut down cleanly, and only "
            f"its last checkpoint is known ({between}). {accept}"
        )


def _size(count: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
