"""Writes the files in ../vectors/accepted and ../vectors/refused; with --check, says which differ and fails.

Every byte comes from claviger_formats.py and from fixed inputs, so the vectors owe nothing to claviger's own code. The
refusals' texts are claviger's; that each is refused for the reason given is checked here with the Python program too.
"""

import hashlib
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

import claviger_formats as formats
from claviger_formats import Kek, Place, Refused

VECTORS = Path(__file__).parent.parent / "vectors"


def fixed(label: str, length: int) -> bytes:
    """The same bytes for the same label, everywhere and always."""
    return hashlib.shake_128(label.encode()).digest(length)


KEK = Kek(fixed("KEK", 32), 3)
OTHER_KEK = Kek(fixed("other KEK", 32), 4)
PLACE = Place(fixed("SVM", 16), 1, fixed("object", 16), 7)
NONCE = fixed("nonce", 12)
XTS_KEY = fixed("XTS-AES-256 key", 64)
AES_KEY = fixed("AES-256 key", 32)
XTS_AES_256, AES_256 = 1, 2
BLOB = formats.seal_key_blob(KEK, PLACE, XTS_AES_256, XTS_KEY, NONCE)
AES_BLOB = formats.seal_key_blob(KEK, PLACE, AES_256, AES_KEY, NONCE)

SEALING_KEY = fixed("sealing key", 32)
TABLE = 3
KEYSTORE = fixed("keystore", 16)
PLAIN = b'{"version":1,"name":"onboard"}'
RECORD = formats.seal_record(SEALING_KEY, TABLE, KEYSTORE, PLAIN, NONCE)

CKEK = fixed("CKEK", 32)
WRAPPING = fixed("wrapping key", 32)
WRAPPED = formats.wrap(WRAPPING, CKEK)
BACKUP_HEADER = fixed("the first 118 bytes of a backup", 118)
BACKUP_BODY = formats.seal_backup_body(CKEK, BACKUP_HEADER, PLAIN, NONCE)


def number(value: int) -> bytes:
    return struct.pack(">I", value)


def patched(data: bytes, offset: int, field: bytes) -> bytes:
    return data[:offset] + field + data[offset + len(field) :]


def flipped(data: bytes, offset: int) -> bytes:
    """One bit of the byte at `offset` changed."""
    offset %= len(data)
    return patched(data, offset, bytes([data[offset] ^ 0x10]))


def place_fields(place: Place) -> dict:
    return {
        "svm": place.svm,
        "object": place.object,
        "key-type": bytes([place.key_type]),
        "key-version": number(place.key_version),
    }


def kek_fields(kek: Kek) -> dict:
    return {"kek": kek.key, "kek-version": number(kek.version)}


# Accepted


def accepted() -> dict:
    files = {}
    for key_type, type_name in ((1, "vek"), (2, "aek"), (3, "nse-ak")):
        for algorithm, algorithm_name, key in (
            (XTS_AES_256, "xts-aes-256", XTS_KEY),
            (AES_256, "aes-256", AES_KEY),
        ):
            place = Place(PLACE.svm, key_type, PLACE.object, PLACE.key_version)
            what = f"A blob of type {type_name.upper()} for {algorithm_name.upper()}."
            files[f"key-blob-{type_name}-{algorithm_name}"] = accepted_blob(what, KEK, place, algorithm, key)
    highest = 2**32 - 1
    files["key-blob-highest-versions"] = accepted_blob(
        "The highest key version and KEK version.",
        Kek(KEK.key, highest),
        Place(PLACE.svm, 1, PLACE.object, highest),
        AES_256,
        AES_KEY,
    )
    for version in (1, 3, highest):
        kek = Kek(KEK.key, version)
        files[f"kek-id-version-{version}"] = (
            f"The name of version {version} of a KEK.",
            {**kek_fields(kek), "kek-id": kek.id},
        )
    files["ckek-id"] = ("The name of a CKEK.", {"ckek": CKEK, "ckek-id": formats.ckek_id(CKEK)})
    files["wrapped-key"] = (
        "A key wrapped by RFC 3394.",
        {"wrapping": WRAPPING, "key": CKEK, "wrapped": WRAPPED},
    )
    files["passphrase-keys-600000-iterations"] = accepted_passphrase(
        "The shortest passphrase, of the first and last characters allowed too, at the fewest iterations.",
        b" ~" + b"correct horse battery staple" + b"~ ",
        600_000,
    )
    files["derived-from-sealing-key"] = (
        "What the sealing key gives: its own name, and the key of an onboard keystore that opens unattended.",
        {
            "sealing-key": SEALING_KEY,
            "keystore": KEYSTORE,
            "sealing-id": formats.sealing_id(SEALING_KEY),
            "sealing": formats.sealing(SEALING_KEY),
            "unattended": formats.unattended(SEALING_KEY, KEYSTORE),
        },
    )
    for name, what, table, store_key, plain in (
        ("sealed-record", "A keystore's record.", TABLE, KEYSTORE, PLAIN),
        ("sealed-record-empty", "The shortest record: an empty store key and no plaintext.", 1, b"", b""),
        ("sealed-record-long", "A store key and a plaintext of many blocks.", 255, fixed("k", 300), fixed("p", 3000)),
    ):
        record = formats.seal_record(SEALING_KEY, table, store_key, plain, NONCE)
        fields = {"plain": plain, "nonce": NONCE, "record": record}
        files[name] = (what, {**record_fields(table, store_key), **fields})
    files["backup-body"] = (
        "Nonce, ciphertext and tag of a backup.",
        {"ckek": CKEK, "header": BACKUP_HEADER, "plain": PLAIN, "nonce": NONCE, "body": BACKUP_BODY},
    )
    return files


def accepted_blob(what: str, kek: Kek, place: Place, algorithm: int, key: bytes) -> tuple[str, dict]:
    blob = formats.seal_key_blob(kek, place, algorithm, key, NONCE)
    assert formats.open_key_blob(kek, place, blob) == (algorithm, key)
    fields = {"key-algorithm": bytes([algorithm]), "key": key, "nonce": NONCE, "kek-id": kek.id, "blob": blob}
    return what, {**kek_fields(kek), **place_fields(place), **fields}


def accepted_passphrase(what: str, passphrase: bytes, iterations: int) -> tuple[str, dict]:
    salt = fixed("salt", 32)
    wrapping, check = formats.passphrase_keys(passphrase, salt, iterations)
    return what, {
        "passphrase": passphrase,
        "salt": salt,
        "iterations": number(iterations),
        "wrapping": wrapping,
        "check": check,
        "ckek": CKEK,
        "wrapped": formats.wrap(wrapping, CKEK),
    }


def record_fields(table: int, store_key: bytes) -> dict:
    return {"sealing-key": SEALING_KEY, "table": bytes([table]), "store-key": store_key}


# Refused

OTHER_PLACE = "the blob belongs to another place: it was moved or copied; put the right one back"
DAMAGED_BLOB = "the blob is damaged: its KEK is the right one and its tag fails; restore it from a copy"
DAMAGED_RECORD = "the record is damaged or was moved here from another key; restore it from a copy"
TRUNCATED_RECORD = "the record is truncated; restore it from a copy"
INTEGRITY = "the wrapped key does not open: it is damaged, or under another key"


def refused() -> dict:
    return {**refused_blobs(), **refused_wrapped_keys(), **refused_records(), **refused_backup_bodies()}


def refused_blobs() -> dict:
    files = {}

    def add(name, what, blob, reason, error, kek=KEK, place=PLACE):
        check_refused(reason, formats.open_key_blob, kek, place, blob)
        files[f"key-blob-{name}"] = (what, {"error": error, **kek_fields(kek), **place_fields(place), "blob": blob})

    def length(found, expected):
        return f"key blob: length is {found} bytes, not {expected}: truncated or overlong"

    def other_kek(version, id_):
        return f"the blob is under KEK version {version} ({id_.hex()}), another than the one given"

    # The layout.
    add("empty", "No bytes at all.", b"", "length", length(0, 64))
    add("truncated-header", "The last byte of the header is missing.", BLOB[:63], "length", length(63, 64))
    add("header-alone", "Nothing follows the header.", BLOB[:64], "length", length(64, 156))
    add("truncated-nonce", "The last byte of the nonce is missing.", BLOB[:75], "length", length(75, 156))
    add("truncated-ciphertext", "The last byte of the ciphertext, and the tag.", BLOB[:139], "length", length(139, 156))
    add("truncated-tag", "The last byte of the tag is missing.", BLOB[:-1], "length", length(155, 156))
    add("overlong", "One byte follows the tag.", BLOB + b"\0", "length", length(157, 156))
    rotating = BLOB + formats.seal_key_blob(KEK, Place(PLACE.svm, 1, PLACE.object, 8), XTS_AES_256, XTS_KEY, NONCE)
    add("two", "A second blob follows, as while a rotation runs.", rotating, "length", length(312, 156))
    error = "key blob: magic is not CLVG, so this is no key blob"
    add("magic", "The magic is that of a sealed record.", patched(BLOB, 0, b"CLVS"), "magic", error)
    for value in (0, 2):
        error = f"key blob: format version {value} is unknown; this release reads version 1"
        add(f"format-{value}", f"Format version {value}.", patched(BLOB, 4, bytes([value])), "format version", error)
    for value in (0, 2):
        error = f"key blob: suite {value} is unknown; this release reads suite 1"
        add(f"suite-{value}", f"Suite {value}.", patched(BLOB, 5, bytes([value])), "suite", error)
    for value in (0, 4):
        error = f"key blob: key type {value} is unknown"
        add(f"type-{value}", f"Key type {value}.", patched(BLOB, 6, bytes([value])), "key type", error)
    for value in (0, 3):
        error = f"key blob: key algorithm {value} is unknown"
        add(f"algorithm-{value}", f"Key algorithm {value}.", patched(BLOB, 7, bytes([value])), "key algorithm", error)
    shorter = patched(BLOB, 7, b"\2")
    add("algorithm-of-other-length", "AES-256 said, XTS-AES-256 inside.", shorter, "length", length(156, 124))
    add("key-version-0", "Key version 0.", patched(BLOB, 40, number(0)), "key version", "key blob: key version is 0")
    add("kek-version-0", "KEK version 0.", patched(BLOB, 44, number(0)), "KEK version", "key blob: KEK version is 0")

    # The place.
    other_svm = Place(fixed("other SVM", 16), PLACE.key_type, PLACE.object, PLACE.key_version)
    other_object = Place(PLACE.svm, PLACE.key_type, fixed("other object", 16), PLACE.key_version)
    other_type = Place(PLACE.svm, 2, PLACE.object, PLACE.key_version)
    other_version = Place(PLACE.svm, PLACE.key_type, PLACE.object, PLACE.key_version + 1)
    swapped = Place(PLACE.object, PLACE.key_type, PLACE.svm, PLACE.key_version)
    for name, what, place in (
        ("moved-to-other-svm", "A sound blob, read as another SVM's.", other_svm),
        ("moved-to-other-object", "A sound blob, read as another object's.", other_object),
        ("svm-and-object-swapped", "A sound blob, read with the two UUIDs swapped.", swapped),
        ("other-type", "A sound blob of a VEK, read as an AEK.", other_type),
        ("other-key-version", "A sound blob, read as the object's next key.", other_version),
    ):
        add(name, what, BLOB, "other place", OTHER_PLACE, place=place)

    # The KEK.
    same_key = Kek(KEK.key, 4)
    for name, what, kek in (
        ("other-kek", "A sound blob, opened with another KEK.", OTHER_KEK),
        ("other-kek-version", "A sound blob, opened with the same key as the next version.", same_key),
    ):
        add(name, what, BLOB, "no such KEK", other_kek(3, KEK.id), kek=kek)
    changed = patched(BLOB, 44, number(4))
    add("kek-version-changed", "The KEK version is changed.", changed, "no such KEK", other_kek(4, KEK.id))
    changed = flipped(BLOB, 48)
    add("bit-flipped-in-kek-id", "One bit of the kek_id.", changed, "no such KEK", other_kek(3, changed[48:64]))

    # The tag. The headers are rewritten to be those of the place and the KEK with which the blob is then opened.
    for name, offset in (("nonce", 64), ("ciphertext", 100), ("tag", -1)):
        add(f"bit-flipped-in-{name}", f"One bit of the {name}.", flipped(BLOB, offset), "damaged", DAMAGED_BLOB)
    for name, what, place in (
        ("svm", "The header names another SVM, and the blob is opened as that one's.", other_svm),
        ("object", "The header names another object, and the blob is opened as that one's.", other_object),
        ("type", "The header says AEK, and the blob is opened as one.", other_type),
        ("key-version", "The header names the next key version, and the blob is opened as that.", other_version),
    ):
        blob = formats.blob_header(KEK, place, XTS_AES_256) + BLOB[64:]
        add(f"rewritten-{name}", what, blob, "damaged", DAMAGED_BLOB, place=place)
    blob = patched(BLOB, 7, b"\2")[: 76 + 32] + BLOB[-16:]
    add("rewritten-algorithm-shorter", "Cut to an AES-256 key, with the old tag.", blob, "damaged", DAMAGED_BLOB)
    blob = patched(AES_BLOB, 7, b"\1")[: 76 + 32] + bytes(32) + AES_BLOB[-16:]
    add("rewritten-algorithm-longer", "Filled up to XTS-AES-256, with the old tag.", blob, "damaged", DAMAGED_BLOB)
    for name, what, kek in (
        ("kek", "The header names another KEK, and the blob is opened with that.", OTHER_KEK),
        ("kek-version", "The header names the next version of the same key, and the blob is opened as that.", same_key),
    ):
        blob = formats.blob_header(kek, PLACE, XTS_AES_256) + BLOB[64:]
        add(f"rewritten-{name}", what, blob, "damaged", DAMAGED_BLOB, kek=kek)
    blob = patched(BLOB, 64, fixed("other nonce", 12))
    add("other-nonce", "Another nonce of 12 bytes.", blob, "damaged", DAMAGED_BLOB)
    return files


def refused_wrapped_keys() -> dict:
    files = {}

    def add(name, what, wrapped, wrapping=WRAPPING):
        check_refused("integrity", formats.unwrap, wrapping, wrapped)
        files[f"wrapped-key-{name}"] = (what, {"error": INTEGRITY, "wrapping": wrapping, "wrapped": wrapped})

    add("bit-flipped", "One bit is changed.", flipped(WRAPPED, 20))
    add("under-other-key", "Wrapped under another key.", WRAPPED, fixed("other wrapping key", 32))
    padded = aes_key_wrap_with_padding(WRAPPING, CKEK)
    add("with-padding", "Wrapped by RFC 5649, whose initial value is another.", padded)
    return files


def refused_records() -> dict:
    files = {}

    def add(name, what, record, reason, error, table=TABLE, store_key=KEYSTORE, sealing_key=SEALING_KEY):
        check_refused(reason, formats.open_record, sealing_key, table, store_key, record)
        fields = {**record_fields(table, store_key), "sealing-key": sealing_key, "record": record}
        files[f"sealed-record-{name}"] = (what, {"error": error, **fields})

    shortest = 24 + 12 + 16
    add("empty", "No bytes at all.", b"", "length", TRUNCATED_RECORD)
    add("truncated-prefix", "The last byte of the sealing_id is missing.", RECORD[:23], "length", TRUNCATED_RECORD)
    add("truncated-nonce", "The last byte of the nonce is missing.", RECORD[:35], "length", TRUNCATED_RECORD)
    shorter = RECORD[: shortest - 1]
    add("below-minimum", "One byte less than a record without plaintext.", shorter, "length", TRUNCATED_RECORD)
    later = patched(shorter, 4, bytes([2]))
    what = "The same of format version 2: what is too short is told first."
    add("below-minimum-of-format-2", what, later, "length", TRUNCATED_RECORD)
    add("truncated", "The last byte is missing.", RECORD[:-1], "damaged", DAMAGED_RECORD)
    add("overlong", "One byte follows the tag.", RECORD + b"\0", "damaged", DAMAGED_RECORD)
    error = "magic is not CLVS, so this is no sealed record"
    add("magic", "The magic is that of a key blob.", patched(RECORD, 0, b"CLVG"), "magic", error)
    for value in (0, 2):
        error = f"format version {value} of the record is unknown; this release reads version 1"
        add(f"format-{value}", f"Format version {value}.", patched(RECORD, 4, bytes([value])), "format version", error)
    for value in (0, 2):
        error = f"suite {value} of the record is unknown; this release reads suite 1"
        add(f"suite-{value}", f"Suite {value}.", patched(RECORD, 5, bytes([value])), "suite", error)
    error = "byte 7 of the record is 1; this release reads only records in which it is 0"
    add("byte-7-not-zero", "Byte 7 is 1.", patched(RECORD, 7, b"\1"), "zero", error)

    other_key = fixed("other sealing key", 32)
    error = "the record is sealed with another sealing key; give the one that belongs to this store"
    what = "A sound record, opened with another key."
    add("other-sealing-key", what, RECORD, "other sealing key", error, sealing_key=other_key)
    add("bit-flipped-in-sealing-id", "One bit of the sealing_id.", flipped(RECORD, 8), "other sealing key", error)
    error = f"the record belongs in table {TABLE}: it was moved; put the right one back"
    add("other-table", "A sound record, read in another table.", RECORD, "other table", error, table=TABLE + 1)

    other_store_key = fixed("other keystore", 16)
    what = "A sound record, read under another key of its table."
    add("moved-to-other-key", what, RECORD, "damaged", DAMAGED_RECORD, store_key=other_store_key)
    what = "A sound record, read under all but the last byte of its key."
    add("key-shortened", what, RECORD, "damaged", DAMAGED_RECORD, store_key=KEYSTORE[:15])
    moved = patched(RECORD, 6, bytes([TABLE + 1]))
    what = "The record names another table, and is read there."
    add("rewritten-table", what, moved, "damaged", DAMAGED_RECORD, table=TABLE + 1)
    moved = patched(RECORD, 8, formats.sealing_id(other_key))
    what = "The record names another sealing key, and is opened with that."
    add("rewritten-sealing-id", what, moved, "damaged", DAMAGED_RECORD, sealing_key=other_key)
    for name, offset in (("nonce", 24), ("ciphertext", 40), ("tag", -1)):
        add(f"bit-flipped-in-{name}", f"One bit of the {name}.", flipped(RECORD, offset), "damaged", DAMAGED_RECORD)
    return files


def refused_backup_bodies() -> dict:
    files = {}

    def add(name, what, body, reason, error, ckek=CKEK, header=BACKUP_HEADER):
        check_refused(reason, formats.open_backup_body, ckek, header, body)
        files[f"backup-body-{name}"] = (what, {"error": error, "ckek": ckek, "header": header, "body": body})

    add("truncated", "One byte less than nonce and tag.", BACKUP_BODY[:27], "length", TRUNCATED_RECORD)
    add("bit-flipped", "One bit of the ciphertext.", flipped(BACKUP_BODY, 12), "damaged", DAMAGED_RECORD)
    add("other-ckek", "Opened with another CKEK.", BACKUP_BODY, "damaged", DAMAGED_RECORD, ckek=fixed("other CKEK", 32))
    header = flipped(BACKUP_HEADER, 6)
    add("other-header", "Behind another header.", BACKUP_BODY, "damaged", DAMAGED_RECORD, header=header)
    return files


def check_refused(reason: str, opens, *arguments) -> None:
    try:
        opens(*arguments)
    except Refused as refusal:
        assert str(refusal) == reason, f"refused because of {refusal}, not {reason}"
    else:
        raise AssertionError(f"accepted; it should be refused because of {reason}")


# The files


def text(what: str, fields: dict) -> str:
    lines = [f"# {what}"]
    for name, value in fields.items():
        lines.append(f"{name} = {value if isinstance(value, str) else value.hex()}".rstrip())
    return "\n".join(lines) + "\n"


def main() -> None:
    check = sys.argv[1:] == ["--check"]
    different = []
    for directory, files in (("accepted", accepted()), ("refused", refused())):
        wanted = {VECTORS / directory / f"{name}.txt": text(*file) for name, file in files.items()}
        present = {path: path.read_text() for path in (VECTORS / directory).iterdir()}
        different += [str(path) for path in wanted | present if wanted.get(path) != present.get(path)]
        if not check:
            for path in present.keys() - wanted.keys():
                path.unlink()
            for path, content in wanted.items():
                path.write_text(content)
    if check and different:
        sys.exit("not as make_vectors.py writes them:\n" + "\n".join(different))


if __name__ == "__main__":
    main()
