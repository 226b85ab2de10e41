"""The kernel's mount table, with the escapes that it writes."""

from pathlib import Path

from mooring.adapters.host import mounts


def test_a_line_with_optional_fields_and_octal_escapes() -> None:
    mount = mounts.parse_line(
        r"36 35 7:12 /sub\040folder /mnt/a\040b\134c\011d ro,noatime shared:3 master:1 "
        r"- ext4 /dev/loop12 rw,errors=remount-ro"
    )
    assert mount.target == Path("/mnt/a b\\c\td")
    assert mount.root == "/sub folder"
    assert (mount.device, mount.filesystem, mount.source) == ("7:12", "ext4", "/dev/loop12")
    assert mount.options == ("ro", "noatime")
    assert mount.super_options == ("rw", "errors=remount-ro")


def test_a_path_that_is_no_utf8_survives(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(b"1 0 0:5 / /mnt/\xff rw - tmpfs none rw\n")
    (mount,) = mounts.KernelMounts(table).table()
    assert mount.target == Path("/mnt/\udcff")
