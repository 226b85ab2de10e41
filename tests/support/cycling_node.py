"""A node that lives volumes through their whole life again and again, to be killed at any moment.

Arguments: the machine's folder, and how many rounds. It says `round N` after each.
"""

import sys
from pathlib import Path

from mooring.domain import ids, volumes
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.real_storage import MIB, Machine, spec, take_away

ONE = ids.volume_id_for("one")
TWO = ids.volume_id_for("two")
SNAP = ids.snapshot_id_for("snap", ONE)


def live(machine: Machine) -> None:
    """Everything that happens to a volume, once; a retry of it continues where it was killed."""
    node = machine.node
    node.create_volume(spec("one", 64 * MIB, preallocated=True))
    stage_and_publish(machine, "one")
    Path(machine.target("one"), "data").write_bytes(b"x" * MIB)
    node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
    node.create_volume(spec("two", 80 * MIB, source=volumes.Source(volume_id=ONE)))
    stage_and_publish(machine, "two")
    node.exposures.expose(
        f"snapshot/{SNAP}", machine.target("mover"), read_only=True, group_id=65532
    )
    end(machine)


def stage_and_publish(machine: Machine, name: str) -> None:
    volume_id = ids.volume_id_for(name)
    machine.node.publisher.stage(volume_id, machine.staging(name), Access())
    machine.node.publisher.publish(
        volume_id, Publication(machine.staging(name), machine.target(name), Access())
    )


def end(machine: Machine) -> None:
    """Takes everything away again, whatever of it is there."""
    node = machine.node
    node.exposures.unexpose(f"snapshot/{SNAP}", machine.target("mover"))
    take_away(machine, "one", "two")
    node.delete_snapshot(SNAP)


def main(folder: str, rounds: str) -> None:
    machine = Machine(Path(folder), image_size_bytes=512 * MIB)
    _say("started")
    for count in range(int(rounds)):
        live(machine)
        _say(f"round {count}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
