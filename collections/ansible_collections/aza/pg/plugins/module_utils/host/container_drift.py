# SPDX-License-Identifier: Apache-2.0
"""Whether a container is what Compose was told, although its hash label says so. Pure.

``docker update``, ``docker network connect`` and an edited compose.yml change a container and leave that label as it
is. What is expected comes from the service's definition, and is compared with what the engine shows. Only fields with
a meaning that is the same on every engine are compared: what an engine fills in by itself would never settle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.quantity import megabytes, seconds

NONE = "none"
_MB = 2**20
# Fields of HostConfig that no definition of ours sets, and what they are called.
_UNSET = {
    "Privileged": "privileged mode",
    "CapAdd": "added capabilities",
    "Devices": "devices",
    "DeviceCgroupRules": "device rules",
    "DeviceRequests": "device requests",
    "ExtraHosts": "extra hosts",
    "GroupAdd": "additional groups",
    "VolumesFrom": "volumes of other containers",
    "Sysctls": "kernel parameters",
    "PidMode": "process namespace",
    "UTSMode": "host name namespace",
    "UsernsMode": "user namespace",
    "CgroupParent": "parent control group",
    "PublishAllPorts": "publication of all ports",
    "OomKillDisable": "disabled OOM killer",
    "OomScoreAdj": "OOM score",
    "MemoryReservation": "memory reservation",
    "CpuShares": "processor shares",
    "CpuPeriod": "processor period",
    "CpuQuota": "processor quota",
    "CpusetCpus": "set of processors",
    "CpusetMems": "set of memory nodes",
    "BlkioWeight": "weight of block I/O",
    "BlkioDeviceReadBps": "read rate",
    "BlkioDeviceWriteBps": "write rate",
    "BlkioDeviceReadIOps": "read operations",
    "BlkioDeviceWriteIOps": "write operations",
    "DnsSearch": "DNS search domains",
}
# What the engine or the image decides where the definition says nothing.
_OPEN = ("shared memory", "init process", "stop timeout")
_PROCESS = {"user": "User", "command": "Cmd", "entrypoint": "Entrypoint"}


def expected(definition: Mapping[str, Any], volume: str, network: str) -> dict[str, str]:
    """Return what the engine should show of a service, by what each is called.

    :param definition: the service as Compose is told, without its labels.
    :param volume: the name of the data volume.
    :param network: the name of the network that the containers share.
    """
    known = {
        "memory limit": _size(megabytes("mem_limit", definition["mem_limit"])),
        "processors": _number(definition.get("cpus")),
        "restart policy": str(definition["restart"]),
        "read-only file system": str(bool(definition.get("read_only"))),
        "dropped capabilities": _listed(definition.get("cap_drop", ())),
        "security options": _listed(map(_option, definition.get("security_opt", ()))),
        "DNS servers": _listed(definition.get("dns", ())),
        "DNS options": _listed(definition.get("dns_opt", ())),
        "networks": network,
        "log driver": _logging(definition["logging"]["driver"], definition["logging"]["options"]),
        **dict.fromkeys(_UNSET.values(), NONE),
        "process limit": NONE,
        "shared IPC namespace": NONE,
        "masked system paths": str(True),
    }
    if "shm_size" in definition:
        known["shared memory"] = _size(megabytes("shm_size", definition["shm_size"]))
    if "init" in definition:
        known["init process"] = str(bool(definition["init"]))
    if "stop_grace_period" in definition:
        known["stop timeout"] = f"{seconds('stop_grace_period', definition['stop_grace_period']):.0f}s"
    for name in _PROCESS:
        if name in definition:
            value = definition[name]
            known[name] = value if isinstance(value, str) else " ".join(value)
    for entry in definition.get("tmpfs", ()):
        path, _, options = entry.partition(":")
        known[f"tmpfs {path}"] = options
    for entry in definition.get("volumes", ()):
        source, destination, *mode = entry.split(":")
        kind = f"bind {source}" if source.startswith(("/", ".")) else f"volume {volume}"
        known[f"mount {destination}"] = f"{kind} {'ro' if mode == ['ro'] else 'rw'}"
    for name in definition.get("secrets", ()):
        known[f"mount /run/secrets/{name}"] = f"bind ./secrets/{name} ro"
    for entry in definition.get("ports", ()):
        address, _, inside = entry.rpartition(":")
        known[f"port {inside}/tcp"] = address
    for name, value in (definition.get("environment") or {}).items():
        known[f"environment {name}"] = str(value)
    return known


def differences(
    wanted: Mapping[str, str],
    container: Mapping[str, Any],
    image: Mapping[str, Any],
    directories: Iterable[str],
) -> list[str]:
    """Return in which ways the container is not what is expected, each as a phrase without values of its environment.

    :param wanted: what ``expected`` returned; empty where nothing is known.
    :param container: what the engine shows of it.
    :param image: what the engine shows of its image; empty where that is not known.
    :param directories: the directory of the instance, which relative mounts begin with, by each of its names.
    """
    if not wanted:
        return []
    is_now = dict(_seen(wanted, container, image, tuple(directories)))
    result = []
    for name in sorted({*wanted, *is_now}):
        before, after = is_now.get(name, NONE), wanted.get(name, NONE)
        several = name.startswith(("mount ", "tmpfs ", "port ", "environment "))
        if before == after or not (several or name in is_now) or (name in _OPEN and name not in wanted):
            continue
        if name.startswith("environment "):
            result.append(f"its {name} differs from the declaration")
        elif name in _PROCESS and name not in wanted:
            result.append(f"its {name} is {before}, and not the image's")
        else:
            result.append(f"its {name} is {before}, and declared is {after}")
    return result


def _seen(
    wanted: Mapping[str, str],
    container: Mapping[str, Any],
    image: Mapping[str, Any],
    directories: Iterable[str],
) -> Iterator[tuple[str, str]]:
    host, config, stock = container["HostConfig"], container["Config"], image.get("Config") or {}
    memory, swap = int(host.get("Memory") or 0), int(host.get("MemorySwap") or 0)
    if memory or swap != -1:  # otherwise this kernel cannot limit memory
        unusual = swap not in (-1, 0, 2 * memory)
        yield (
            "memory limit",
            _size(memory // _MB) + (f" with {_size(swap // _MB)} of swap" if unusual else ""),
        )
    yield "processors", _number(int(host.get("NanoCpus") or 0) / 1e9)
    policy = host.get("RestartPolicy") or {}
    yield "restart policy", str(policy.get("Name") or "no")
    yield "read-only file system", str(bool(host.get("ReadonlyRootfs")))
    yield (
        "dropped capabilities",
        _listed(name.upper().removeprefix("CAP_") for name in host.get("CapDrop") or ()),
    )
    yield "security options", _listed(map(_option, host.get("SecurityOpt") or ()))
    yield "DNS servers", _listed(host.get("Dns") or ())
    yield "DNS options", _listed(host.get("DnsOptions") or ())
    log = host.get("LogConfig") or {}
    yield "log driver", _logging(str(log.get("Type", "")), log.get("Config") or {})
    for field, name in _UNSET.items():
        yield name, _value(host.get(field))
    limit = host.get("PidsLimit")
    yield "process limit", NONE if limit in (None, 0, -1) else str(limit)
    ipc = str(host.get("IpcMode") or "")
    yield "shared IPC namespace", NONE if ipc in ("", "private", "shareable") else ipc
    if "MaskedPaths" in host:
        yield "masked system paths", str(bool(host["MaskedPaths"] and host.get("ReadonlyPaths")))
    yield "shared memory", _size(int(host.get("ShmSize") or 0) // _MB)
    yield "init process", str(bool(host.get("Init")))
    if config.get("StopTimeout") is not None:
        yield "stop timeout", f"{config['StopTimeout']}s"
    if "running" in str(container["State"]["Status"]):
        yield "networks", _listed((container.get("NetworkSettings") or {}).get("Networks") or ())
    yield from _process(wanted, config, stock)
    for path, options in (host.get("Tmpfs") or {}).items():
        yield f"tmpfs {path}", str(options)
    for mount in container.get("Mounts") or ():
        mode = "rw" if mount.get("RW") else "ro"
        yield f"mount {mount['Destination']}", f"{mount['Type']} {_source(mount, directories)} {mode}"
    for inside, bindings in (host.get("PortBindings") or {}).items():
        yield f"port {inside}", _listed(_published(binding) for binding in bindings or ())


def _process(
    wanted: Mapping[str, str], config: Mapping[str, Any], stock: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What runs in the container; what the definition leaves to the image has to be the image's."""
    for name, key in _PROCESS.items():
        value, own = (part.get(key) or () for part in (config, stock))
        text, default = (part if isinstance(part, str) else " ".join(part) for part in (value, own))
        # An entrypoint of one's own takes the image's command away, and the engine says so in several ways.
        if name in wanted or (stock and text != default and "entrypoint" not in wanted):
            yield name, text
    of_image = dict(entry.partition("=")[::2] for entry in stock.get("Env") or ())
    for entry in config.get("Env") or ():
        name, _, value = entry.partition("=")
        # Compose passes on the proxies of the client's own configuration.
        is_proxy = name.lower().endswith("_proxy")
        if f"environment {name}" in wanted or (stock and of_image.get(name) != value and not is_proxy):
            yield f"environment {name}", value


def _source(mount: Mapping[str, Any], directories: Iterable[str]) -> str:
    source = str(mount.get("Source", ""))
    if mount["Type"] == "volume":
        return str(mount.get("Name", ""))
    ours = (f".{source[len(path) :]}" for path in directories if source.startswith(f"{path}/"))
    return next(ours, source)


def _published(binding: Mapping[str, str]) -> str:
    address = binding.get("HostIp") or "0.0.0.0"
    return f"{f'[{address}]' if ':' in address else address}:{binding.get('HostPort', '')}"


def _option(text: str) -> str:
    """``no-new-privileges`` has three spellings."""
    name, _, value = text.replace("=", ":", 1).partition(":")
    return f"{name}:{value or 'true'}"


def _logging(driver: str, options: Mapping[str, str]) -> str:
    return " ".join([driver, *(f"{key}={value}" for key, value in sorted(options.items()))])


def _listed(items: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, items))) or NONE


def _value(value: Any) -> str:
    if not value:
        return NONE
    if isinstance(value, Mapping):
        return _listed(f"{key}={item}" for key, item in value.items())
    return _listed(value) if isinstance(value, (list, tuple)) else str(value)


def _size(megabytes_: float) -> str:
    return f"{megabytes_:.0f} MB" if megabytes_ else NONE


def _number(value: Any) -> str:
    return f"{float(value):g}" if value else NONE
