# SPDX-License-Identifier: Apache-2.0
"""Findings about replication: the facts of the members compared with the declaration. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.aza.pg.plugins.module_utils.checks.amounts import (
    duration,
    listed,
    mapping,
    number,
    rows,
    size,
    text,
)
from ansible_collections.aza.pg.plugins.module_utils.checks.cluster import (
    NOT_ASKED,
    PRIMARY,
    REPLICA,
    Declared,
    Facts,
    View,
    undeclared_slots,
)
from ansible_collections.aza.pg.plugins.module_utils.model.service import short
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.server import own_schema

# Slot states in which WAL that the slot stands for is going or gone.
_LOSING = ("unreserved", "lost")
_WHOLE = "check the whole cluster"
_CONFIRMED = ("on", "remote_write", "remote_apply")


def judge(declared: Declared, facts: Mapping[str, Facts | str]) -> dict[str, list[Finding]]:
    """Findings by member; what concerns the whole cluster stands under the empty name."""
    view = View(declared, facts)
    return {
        "": list(_of_the_cluster(view)),
        **{name: list(_of_a_member(view, name)) for name in declared.members},
    }


def _of_the_cluster(view: View) -> Iterator[Finding]:
    yield from _one_primary(view)
    yield from _synchronous(view)
    yield from _images(view)


def _of_a_member(view: View, name: str) -> Iterator[Finding]:
    if view.reason(name) == NOT_ASKED:
        yield Finding("server", "yellow", NOT_ASKED, _WHOLE)
    elif view.reason(name):
        yield Finding("server", "red", view.reason(name), "start the host; the other members keep running")
    else:
        yield from _role(view, name)
    if view.role(name) == REPLICA:
        yield from _streaming(view, name)
        yield from _lag(view, name)
        yield from _identity(view, name)
        yield from _parameters(view, name)
        yield from _tls(view, name)
    yield from _slot(view, name)
    yield from _sentinel(view, name)
    yield from _strays(view, name)
    yield from _retention(view, name)


def _one_primary(view: View) -> Iterator[Finding]:
    if view.primary:
        yield Finding("primary", "green", f"{view.primary} is the only primary")
    elif view.primaries:
        yield Finding(
            "primary",
            "red",
            f"{listed(view.primaries)} are primaries at the same time: each accepts writes that the other never sees",
            "decide which one to keep, stop the other at once, save the data that only it has, and copy it again",
        )
    elif any(view.reason(name) == NOT_ASKED for name in view.declared.members):
        yield Finding("primary", "yellow", "it is not one of the members that were checked", _WHOLE)
    else:
        silent = [name for name in view.declared.members if view.reason(name)]
        yield Finding(
            "primary",
            "red",
            "no member accepts writes: "
            + (f"{listed(silent)} could not be checked" if silent else "every member is a standby"),
            f"bring {view.declared_primary or 'the primary'} back, or promote the replica that has received the "
            "most WAL",
        )


def _role(view: View, name: str) -> Iterator[Finding]:
    wanted, is_now = view.declared.members[name].role, view.role(name)
    if not is_now:
        yield Finding("role", "red", "it is unknown whether it is a primary or a standby", "read its log")
    elif wanted == is_now:
        yield Finding("role", "green", f"{is_now}, as declared")
    elif is_now == PRIMARY:
        old = view.declared_primary
        yield Finding(
            "role",
            "yellow",
            "it was promoted: it is a primary, but the inventory declares a replica",
            f"if this is intended, make {name} the primary{f' and {old} a replica' if old else ''} in the inventory",
        )
    else:
        now = f"; the primary is {view.primary}" if view.primary else ""
        yield Finding(
            "role",
            "yellow",
            f"it is a standby, but the inventory declares a primary{now}",
            f"if this is intended, make {view.primary or 'the new primary'} the primary and {name} a replica in the "
            "inventory",
        )


def _streaming(view: View, name: str) -> Iterator[Finding]:
    upstream = view.upstream(name)
    receiver = mapping(view.facts(name).get("receiver"))
    where = ":".join(str(receiver[key]) for key in ("sender_host", "sender_port") if receiver.get(key))
    if receiver.get("status") != "streaming":
        is_now = (
            f"its receiver is '{receiver['status']}'" if receiver.get("status") else "it receives nothing"
        )
        yield Finding(
            "streaming",
            "red",
            f"{is_now} from {upstream or 'its upstream'}",
            "read its log: the upstream is down, rejects it (pg_hba.conf, password, certificate) or has no slot",
        )
    elif upstream and not view.facts(upstream):
        message = f"from {where or 'somewhere'}; whether that is {upstream} could not be checked"
        helps = _WHOLE if view.reason(upstream) == NOT_ASKED else f"bring {upstream} back"
        yield Finding("streaming", "yellow", message, helps)
    elif not upstream or view.source(name) != upstream:
        other = view.source(name) or where or "a server outside of the cluster"
        yield Finding(
            "streaming",
            "red",
            f"from {other}, declared is {upstream or 'none'}",
            "correct its upstream in the inventory, or deploy it to stream from the declared upstream",
        )
    elif view.sender(upstream, name).get("state") != "streaming":
        state = view.sender(upstream, name).get("state")
        yield Finding(
            "streaming",
            "yellow",
            f"{upstream} reports the state '{state}': it is catching up",
            "wait, and check again",
        )
    else:
        yield Finding("streaming", "green", f"from {upstream}")


def _slot(view: View, name: str) -> Iterator[Finding]:
    wanted, upstream = view.declared.members[name].slot, view.upstream(name)
    if not wanted or view.role(name) == PRIMARY or not upstream or not view.facts(upstream):
        return
    found = view.slot(upstream, wanted)
    used = text(mapping(view.facts(name).get("receiver")).get("slot_name"))
    keeps = f"it keeps {size(number(found.get('retained_bytes')) or 0)} of WAL"
    if used and used != wanted:
        message = f"it uses the slot {used}, declared is {wanted}"
        yield Finding("slot", "red", message, "deploy to restore it")
    elif not found:
        message = (
            f"{upstream} has no slot {wanted}: WAL that this replica still needs can be removed at any time"
        )
        yield Finding(
            "slot", "red", message, "deploy to create it; a replica that has missed WAL must be copied again"
        )
    elif found.get("wal_status") in _LOSING:
        gone = "is gone" if found["wal_status"] == "lost" else "is removed at the next checkpoint"
        message = f"the WAL of slot {wanted} on {upstream} {gone}"
        yield Finding(
            "slot",
            "red",
            message,
            "copy the replica again; max_slot_wal_keep_size limits how much WAL is kept",
        )
    elif not found.get("active"):
        message = f"slot {wanted} on {upstream} is not in use; {keeps}"
        yield Finding(
            "slot", "red", message, "bring the replica back, or remove it from the inventory and its slot"
        )
    elif found.get("wal_status") == "extended":
        message = f"slot {wanted} on {upstream}: {keeps}, more than max_wal_size"
        yield Finding("slot", "yellow", message, "find out why the replica lags")
    else:
        yield Finding("slot", "green", f"{wanted} on {upstream}; {keeps}")


def _strays(view: View, name: str) -> Iterator[Finding]:
    """An unmanaged slot whose WAL is removed. The check of the instance reports that it exists."""
    for row in undeclared_slots(view, name):
        if row.get("wal_status") in _LOSING:
            slot = row.get("name")
            message = f"the physical slot {slot} is not declared, and its WAL is {row['wal_status']}"
            yield Finding("slots", "red", message, f'drop it with postgres_allow_loss: ["slot {slot}"]')


def _lag(view: View, name: str) -> Iterator[Finding]:
    facts, declared = view.facts(name), view.declared
    if facts.get("replay_paused"):
        yield Finding("lag", "red", "its replay is paused", "select pg_wal_replay_resume() on it")
        return
    delay, own = view.delay(name), view.declared.members[name].delay
    live = number(mapping(facts.get("settings")).get("recovery_min_apply_delay"))
    if live is not None and live != own:
        message = f"it delays its replay by {duration(live)}, declared is {duration(own)}"
        yield Finding("delay", "yellow", message, "deploy to restore it")
    # What is delayed on purpose is behind on purpose; that it is received is what counts.
    count = view.unreceived(name) if delay else view.behind(name)
    seconds = view.seconds_behind(name)
    if count is None:
        yield Finding("lag", "yellow", "how far it is behind could not be measured", "bring the primary back")
        return
    meant = f", delayed by {duration(delay)} on purpose" if delay else ""
    message = f"{size(count)}{f', {duration(seconds)}' if seconds is not None else ''} behind{meant}"
    if count > declared.lag_bytes:
        allowed = f"at most {size(declared.lag_bytes)}"
    elif seconds is not None and seconds > declared.lag_seconds + delay:
        allowed = f"at most {duration(declared.lag_seconds + delay)}"
    else:
        yield Finding("lag", "green", message)
        return
    yield Finding(
        "lag",
        "red",
        f"{message}; the limit is {allowed}",
        "find the cause: its disk, the network, or a query that blocks its replay (pg_stat_activity)",
    )


def _identity(view: View, name: str) -> Iterator[Finding]:
    other = view.primary or next(iter(view.standbys), "")
    if other == name:
        return
    mine, theirs = view.facts(name), view.facts(other)
    identifiers = [text(facts.get("system_identifier")) for facts in (mine, theirs)]
    timelines = [number(facts.get("timeline")) for facts in (mine, theirs)]
    if all(identifiers) and identifiers[0] != identifiers[1]:
        message = f"it holds data of another cluster: its system identifier is {identifiers[0]}, that of {other} is "
        yield Finding(
            "timeline",
            "red",
            f"{message}{identifiers[1]}",
            "save its data, remove it, and copy it again",
        )
    elif None in timelines:
        yield Finding("timeline", "yellow", "it could not be compared", f"look at {name} and {other}")
    elif timelines[0] != timelines[1]:
        message = f"it is on timeline {timelines[0]:.0f}, {other} on {timelines[1]:.0f}"
        yield Finding(
            "timeline",
            "red",
            message,
            "it follows automatically when it streams; if its log reports a forked timeline, copy it again",
        )
    else:
        yield Finding("timeline", "green", f"{timelines[0]:.0f}, as on {other}")


def _parameters(view: View, name: str) -> Iterator[Finding]:
    if not view.primary:
        return
    mine, needed = view.minimums(name), view.minimums(view.primary)
    less = [
        f"{key} {mine[key]:.0f} < {value:.0f}"
        for key, value in needed.items()
        if key in mine and mine[key] < value
    ]
    if less:
        yield Finding(
            "parameters",
            "red",
            f"less than the primary has: {', '.join(less)}. Its replay stops, or it does not start",
            "restart it: at each start it takes the primary's values as minimums",
        )
    elif set(mine) & set(needed):
        yield Finding("parameters", "green", "none is below the primary's")
    else:
        yield Finding("parameters", "yellow", "they could not be compared with the primary's", "check again")


def _tls(view: View, name: str) -> Iterator[Finding]:
    sender = view.sender(view.source(name), name)
    if not view.declared.tls or not sender:
        return
    if sender.get("tls"):
        yield Finding("tls", "green", f"streams under {text(sender.get('tls_version')) or 'TLS'}")
    else:
        yield Finding(
            "tls",
            "red",
            f"it streams from {view.source(name)} without TLS",
            "its pg_hba rule must be hostssl, and sslmode in primary_conninfo verify-full: deploy to set both",
        )


def _sentinel(view: View, name: str) -> Iterator[Finding]:
    mine = mapping(view.facts(name).get("sentinel"))
    if not mine:
        return
    if view.role(name) == PRIMARY:
        if mine.get("untrusted"):
            message = f"no row was written, because {mine['untrusted']}, whose code could then run as the administrator"
            yield Finding("sentinel", "red", message, own_schema.REMEDY)
        if mine.get("error"):
            message = f"a row could not be written: {mine['error']}"
            yield Finding("sentinel", "red", message, "read the server's log")
        return
    written = mapping(view.facts(view.primary).get("sentinel")) if view.primary else {}
    waited = number(mine.get("seconds")) or 0
    if mine.get("skipped"):
        yield Finding("sentinel", "green", f"not waited for: {mine['skipped']}")
    elif mine.get("seen"):
        age = number(mine.get("age"))
        if age is None:
            message = f"a row written on {view.primary or 'the primary'} was on the replica at the first look"
            yield Finding("sentinel", "green", message)
            return
        took = max(age, 0)
        well = took <= view.declared.sentinel_seconds + view.delay(name)
        message = f"a row written on {view.primary or 'the primary'} arrived {duration(took)} later"
        slow = "check the replica's disk and network, and the clocks of both hosts"
        yield Finding("sentinel", "green" if well else "yellow", message, "" if well else slow)
    elif not written.get("written") or view.facts(name).get("replay_paused"):
        return  # nothing was written, or it is not replayed, which is said above
    elif (number(written.get("at")) or 0) > (number(mine.get("until")) or 0):
        message = "it had stopped waiting before the row was written on the primary"
        yield Finding(
            "sentinel",
            "yellow",
            message,
            "check again with at least as many forks as the cluster has members",
        )
    else:
        message = f"a row written on {view.primary} had not arrived after {duration(waited)}"
        yield Finding("sentinel", "red", message, "check the findings about its streaming and its replay")


def _synchronous(view: View) -> Iterator[Finding]:
    wanted, is_now = view.declared.synchronous, view.synchronous
    if not view.primary or not (wanted or is_now.count):
        return
    waits = (
        f"each commit waits for {is_now.count} of {listed(is_now.names)}"
        if is_now.count
        else "no commit waits"
    )
    if is_now.count != wanted:
        message = f"{waits}, declared are {wanted} synchronous replicas"
        yield Finding("synchronous", "red", message, "deploy to restore it")
    commit = text(mapping(view.facts(view.primary).get("settings")).get("synchronous_commit"))
    if is_now.count and commit and commit not in _CONFIRMED:
        message = f"synchronous_commit is {commit}: commits do not wait for a replica"
        yield Finding("synchronous", "yellow", message, "remove synchronous_commit from postgres_settings")
    spare = len(view.confirming) - is_now.count
    there = listed(view.confirming) or "none"
    if is_now.count and spare < 0:
        yield Finding(
            "synchronous",
            "red",
            f"writes block now: {waits}, and only {there} {'are' if len(view.confirming) > 1 else 'is'} connected",
            "bring the replicas back, or lower the number of synchronous replicas of the cluster until they are",
        )
    elif is_now.count and not spare:
        message = f"{waits}; connected: {there}. When one more fails, writes block"
        yield Finding(
            "synchronous", "yellow", message, "add a synchronous replica: one more than commits wait for"
        )
    elif is_now.count and is_now.count == wanted:
        yield Finding("synchronous", "green", f"{waits}; connected: {there}")


def _images(view: View) -> Iterator[Finding]:
    found = view.images()
    if len(found) > 1:
        message = "; ".join(f"{listed(names)}: {short(image)}" for image, names in found.items())
        yield Finding(
            "images",
            "yellow",
            f"the members run different images: {message}",
            "deploy the members with the older image",
        )
    elif found:
        (image,) = found
        yield Finding("images", "green", f"every reachable member runs {short(image)}")


def _retention(view: View, name: str) -> Iterator[Finding]:
    facts = view.facts(name)
    slots = [row for row in rows(facts.get("slots")) if not row.get("temporary")]
    free = number(facts.get("disk_free"))
    most = number(mapping(facts.get("settings")).get("max_slot_wal_keep_size"))
    if not slots or most is None:
        return
    if most < 0:
        message = "max_slot_wal_keep_size is unlimited: a disconnected replica fills the disk of this server"
        yield Finding(
            "retention", "yellow", message, "set max_slot_wal_keep_size below the free space of the disk"
        )
        return
    kept = max(number(row.get("retained_bytes")) or 0 for row in slots)
    more = max(most - kept, 0)
    message = f"slots keep {size(kept)} of WAL and may keep {size(most)}"
    if free is None:
        yield Finding("retention", "green", message)
    elif more > free:
        yield Finding(
            "retention",
            "yellow",
            f"{message}; {size(free)} are free: the disk can be full before the limit is reached",
            "lower max_slot_wal_keep_size, or give the data a larger disk",
        )
    else:
        yield Finding("retention", "green", f"{message}; {size(free)} are free")
