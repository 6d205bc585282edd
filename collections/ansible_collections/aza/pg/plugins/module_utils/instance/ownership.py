# SPDX-License-Identifier: Apache-2.0
"""Which environment an instance belongs to: compared with what its host has recorded, before anything changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES, secrets
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

KIND = "environment"
# The reasons with which an instance is refused.
FOREIGN, MISSING = "foreign_environment", "missing_secrets"
REASONS = (FOREIGN, MISSING)
_PASSWORD = "postgres_password"
# A file that is made of other secrets → these.
_COMPOSED = {
    **{name: needed for service in SERVICES for name, needed in service.composed.items()},
    replication.PASSFILE: (replication.PASSWORD,),
}
# Roles that only a container of the same instance logs in with: its file on the host is what counts.
_OWN_ROLES = tuple(secret.name for secret in secrets(SERVICES[1:]))
# Of these, the ones with a file of their own.
_OWN_FILES = tuple(secret.name for secret in secrets(SERVICES[1:]) if secret.path)


# -- the decision ----------------------------------------------------------------------------------


def _exists(wanted: Desired, found: Observed) -> bool:
    """Whether there is an instance. A container of its name that is not part of the project is something else."""
    return found.volume or any(item.get("project") == wanted.project for item in found.containers.values())


def refuse(wanted: Desired, found: Observed) -> None:
    """Refuse an instance of another environment, and one whose secrets the control node lacks.

    :raises AzaError: with ``FOREIGN`` or ``MISSING`` as its reason.
    """
    claim = wanted.claim
    if not claim.asks or claim.take_over or not _exists(wanted, found):
        return
    owner = str(found.owner.get("environment", ""))
    lacks = lacking(wanted, found)
    if owner and owner == claim.environment:
        if lacks:
            raise _missing(wanted, lacks)
        return
    # Who has no identity yet shows the secrets instead: deployed before there were identities, or copied without it.
    if (not owner or claim.fresh or not claim.environment) and not lacks and _proves(wanted, found):
        return
    raise _foreign(wanted, found, owner)


def restored(wanted: Desired, found: Observed) -> str:
    """Return the identity that the control node has to keep, because it has the secrets and none of its own."""
    owner, claim = str(found.owner.get("environment", "")), wanted.claim
    exists = _exists(wanted, found)
    return owner if claim.asks and claim.fresh and exists and not claim.take_over else ""


def lacking(wanted: Desired, found: Observed) -> list[str]:
    """Return the names of the secrets that the control node would make now, although the instance has them."""
    made = set(wanted.claim.made)
    held = set()
    for item in wanted.files:
        if item.secret and item.path in found.files:
            held.update(made.intersection(_COMPOSED.get(item.secret, (item.secret,))))
    server = (found.server or {}).get("roles") or {}
    for name in made - held - set(_OWN_ROLES):
        role = wanted.superuser if name == _PASSWORD else name.partition("/")[2]
        if (server.get(role) or {}).get("has_password"):
            held.add(name)
    authority = _authority(found)
    if wanted.claim.new_authority and authority and authority["ours"]:
        held.add("ca")
    return sorted(held)


def _proves(wanted: Desired, found: Observed) -> bool:
    """Return whether the control node's secrets are those of the instance."""
    matches = {
        item.secret: True if found.files[item.path].get("was_ours") else found.files[item.path].get("matches")
        for item in wanted.files
        if item.secret in (_PASSWORD, *_OWN_FILES) and item.path in found.files
    }
    authority, trusted = _authority(found), wanted.claim.authorities
    if authority and authority["ours"] and trusted and authority["root"] not in trusted:
        return False
    return matches.get(_PASSWORD) is True and False not in matches.values()


def _authority(found: Observed) -> Mapping[str, Any]:
    authority: Mapping[str, Any] = (found.files.get(tls.PATH) or {}).get("authority") or {}
    return authority


# -- the plan --------------------------------------------------------------------------------------


def changes(wanted: Desired, found: Observed) -> Iterator[Change]:
    """Record the environment on the host."""
    claim, owner = wanted.claim, str(found.owner.get("environment", ""))
    if not claim.environment or (owner == claim.environment and found.owner["file"]):
        return
    exists = _exists(wanted, found)
    if not exists or not owner:
        why = "it was deployed before environments were recorded" if exists else ""
        # Nothing is wrong with the instance: a check must not be red because of it.
        yield Change(KIND, claim.name, "record", why=why, severity="yellow")
    elif owner == claim.environment:
        yield Change(KIND, claim.name, "record", why="the file that records it is missing")
    elif claim.take_over:
        why = f"take_over names {wanted.cluster}; it belonged to {_whose(found.owner)}"
        yield Change(KIND, claim.name, "take over into", why=why)


def removal(wanted: Desired, found: Observed) -> Iterator[Change]:
    if found.owner.get("file"):
        yield Change(KIND, wanted.claim.name or wanted.instance, "forget")


# -- what people are told --------------------------------------------------------------------------


def _missing(wanted: Desired, names: Iterable[str]) -> AzaError:
    claim, listed = wanted.claim, list(names)
    roles = [name.removeprefix("roles/") for name in listed if name != "ca"]
    rotation = (
        f"give new passwords by name (ansible-playbook secrets.yml -e rotate={roles[0]})" if roles else ""
    )
    renewal = "begin a new authority (docs/runbooks/rotate-the-authority.md)" if "ca" in listed else ""
    ways = "; ".join(
        filter(None, (f"restore them into {claim.secrets} from your backup", _FETCH, rotation, renewal))
    )
    return AzaError(
        f"{wanted.instance}: this control node lacks {', '.join(listed)} in {claim.secrets}, and the instance has "
        f"them. A deploy would replace them, and clients would fail. Do one of these: {ways}; or replace them all with "
        f"-e take_over={wanted.cluster}. Nothing was changed.",
        reason=MISSING,
        missing=listed,
    )


def _foreign(wanted: Desired, found: Observed, owner: str) -> AzaError:
    claim = wanted.claim
    nothing = claim.fresh or not claim.environment
    if owner:
        whose = f"it belongs to {_whose(found.owner)}"
        mine = (
            f"this control node has no secrets of it in {claim.secrets or 'its inventory'}"
            if nothing
            else f"the secrets of this control node ({claim.secrets}) belong to environment {claim.environment[:8]}"
        )
    else:
        whose = "it was deployed by another control node"
        mine = f"the secrets of this control node ({claim.secrets or 'its inventory'}) are not those of the instance"
    ways = [
        f"copy the directory secrets of that environment to {claim.secrets or 'the inventory'}",
        # What belongs to another environment is not mixed with what is there already.
        *([_FETCH] if nothing else []),
        f"take the instance over, with new passwords and certificates: -e take_over={wanted.cluster}",
    ]
    return AzaError(
        f"{wanted.instance}: {whose}, and {mine}. To change it from here would replace its passwords and certificates, "
        f"and clients would fail. Do one of these: {'; '.join(ways)}. Nothing was changed.",
        reason=MISSING if nothing else FOREIGN,
        environment=owner,
    )


_FETCH = "read back what the hosts hold (ansible-playbook secrets.yml -e fetch=true)"


def _whose(record: Mapping[str, Any]) -> str:
    origin = str(record.get("from", ""))
    return f"environment {str(record.get('environment', ''))[:8]}" + (
        f" (deployed by {origin})" if origin else ""
    )
