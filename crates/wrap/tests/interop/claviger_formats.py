"""Opens and writes claviger's formats as docs/formats.md says, with the package `cryptography` and nothing of claviger.

As a library: one function per format, bytes in, bytes out; `Refused` says why bytes were not accepted.
As a program: reads a JSON array of commands from standard input and writes the array of answers to standard output.
A command is {"do": name, ...}, an answer {"name": value, ...} or {"refused": reason}; bytes are in hexadecimal.
"""

import hashlib
import hmac
import json
import os
import struct
import sys
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

FORMAT = 1
SUITE_AES_256_GCM = 1
KEY_TYPES = {1: "VEK", 2: "AEK", 3: "NSE-AK"}
KEY_LENGTHS = {1: 64, 2: 32}  # XTS-AES-256, AES-256
NONCE = 12
TAG = 16

BLOB_HEADER = struct.Struct(">4sBBBB16s16sII16s")
RECORD_PREFIX = struct.Struct(">4sBBBB16s")
assert BLOB_HEADER.size == 64 and RECORD_PREFIX.size == 24


class Refused(Exception):
    """The bytes are not accepted; the argument says why."""


def require(condition: bool, reason: str) -> None:
    if not condition:
        raise Refused(reason)


# Names and derived keys


def short_hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()[:16]


def expand(key: bytes, info: bytes) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=32, info=info).derive(key)


def kek_id(kek: bytes, version: int) -> bytes:
    return short_hmac(kek, b"claviger-kek-id-1" + struct.pack(">I", version))


def ckek_id(ckek: bytes) -> bytes:
    return short_hmac(ckek, b"claviger-ckek-id-1" + struct.pack(">I", 1))


def sealing_id(sealing_key: bytes) -> bytes:
    return short_hmac(sealing_key, b"claviger-seal-id-1")


def sealing(sealing_key: bytes) -> bytes:
    return expand(sealing_key, b"claviger-sealing-1")


def unattended(sealing_key: bytes, keystore: bytes) -> bytes:
    return expand(sealing_key, b"claviger-unattended-1" + keystore)


def passphrase_keys(passphrase: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """The wrapping key and the check value."""
    require(32 <= len(passphrase) <= 256 and all(0x20 <= byte <= 0x7E for byte in passphrase), "passphrase")
    require(len(salt) == 32, "salt")
    require(600_000 <= iterations <= 10_000_000, "iterations")
    prk = hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations, 32)
    return expand(prk, b"claviger-passphrase-wrap-1"), expand(prk, b"claviger-passphrase-check-1")


# Key blob


@dataclass(frozen=True)
class Place:
    """Where a key belongs."""

    svm: bytes
    key_type: int
    object: bytes
    key_version: int


@dataclass(frozen=True)
class Kek:
    """An SVM-KEK and its version."""

    key: bytes
    version: int

    @property
    def id(self) -> bytes:
        return kek_id(self.key, self.version)


def blob_header(kek: Kek, place: Place, algorithm: int) -> bytes:
    return BLOB_HEADER.pack(
        b"CLVG",
        FORMAT,
        SUITE_AES_256_GCM,
        place.key_type,
        algorithm,
        place.svm,
        place.object,
        place.key_version,
        kek.version,
        kek.id,
    )


def seal_key_blob(kek: Kek, place: Place, algorithm: int, key: bytes, nonce: bytes) -> bytes:
    assert len(key) == KEY_LENGTHS[algorithm] and place.key_type in KEY_TYPES
    header = blob_header(kek, place, algorithm)
    return header + nonce + AESGCM(kek.key).encrypt(nonce, key, header)


def open_key_blob(kek: Kek, place: Place, blob: bytes) -> tuple[int, bytes]:
    """The algorithm and the key."""
    require(len(blob) >= BLOB_HEADER.size, "length")
    header, body = blob[: BLOB_HEADER.size], blob[BLOB_HEADER.size :]
    magic, form, suite, key_type, algorithm, svm, object_, key_version, kek_version, id_ = BLOB_HEADER.unpack(header)
    require(magic == b"CLVG", "magic")
    require(form == FORMAT, "format version")
    require(suite == SUITE_AES_256_GCM, "suite")
    require(key_type in KEY_TYPES, "key type")
    require(algorithm in KEY_LENGTHS, "key algorithm")
    require(key_version != 0, "key version")
    require(kek_version != 0, "KEK version")
    require(len(body) == NONCE + KEY_LENGTHS[algorithm] + TAG, "length")
    require(Place(svm, key_type, object_, key_version) == place, "other place")
    require((kek_version, id_) == (kek.version, kek.id), "no such KEK")
    return algorithm, open_gcm(kek.key, header, body)


def open_gcm(key: bytes, associated: bytes, body: bytes) -> bytes:
    """Opens nonce, ciphertext and tag."""
    require(len(body) >= NONCE + TAG, "length")
    try:
        return AESGCM(key).decrypt(body[:NONCE], body[NONCE:], associated)
    except InvalidTag:
        raise Refused("damaged") from None


# Kept SVM-KEK and CKEK


def wrap(wrapping: bytes, key: bytes) -> bytes:
    assert len(key) == 32
    return aes_key_wrap(wrapping, key)


def unwrap(wrapping: bytes, wrapped: bytes) -> bytes:
    require(len(wrapped) == 40, "length")
    try:
        return aes_key_unwrap(wrapping, wrapped)
    except InvalidUnwrap:
        raise Refused("integrity") from None


# Sealed record


def record_associated_data(prefix: bytes, store_key: bytes) -> bytes:
    return b"claviger-record-1" + prefix + struct.pack(">I", len(store_key)) + store_key


def seal_record(sealing_key: bytes, table: int, store_key: bytes, plain: bytes, nonce: bytes) -> bytes:
    prefix = RECORD_PREFIX.pack(b"CLVS", FORMAT, SUITE_AES_256_GCM, table, 0, sealing_id(sealing_key))
    sealed = AESGCM(sealing(sealing_key)).encrypt(nonce, plain, record_associated_data(prefix, store_key))
    return prefix + nonce + sealed


def open_record(sealing_key: bytes, table: int, store_key: bytes, record: bytes) -> bytes:
    require(len(record) >= RECORD_PREFIX.size + 12 + 16, "length")
    prefix, body = record[: RECORD_PREFIX.size], record[RECORD_PREFIX.size :]
    magic, form, suite, own_table, zero, id_ = RECORD_PREFIX.unpack(prefix)
    require(magic == b"CLVS", "magic")
    require(form == FORMAT, "format version")
    require(suite == SUITE_AES_256_GCM, "suite")
    require(zero == 0, "zero")
    require(id_ == sealing_id(sealing_key), "other sealing key")
    require(own_table == table, "other table")
    return open_gcm(sealing(sealing_key), record_associated_data(prefix, store_key), body)


# The ciphertext of a backup


def seal_backup_body(ckek: bytes, header: bytes, plain: bytes, nonce: bytes) -> bytes:
    return nonce + AESGCM(expand(ckek, b"claviger-backup-1")).encrypt(nonce, plain, header)


def open_backup_body(ckek: bytes, header: bytes, body: bytes) -> bytes:
    return open_gcm(expand(ckek, b"claviger-backup-1"), header, body)


# The program


def answer(command: dict) -> dict:
    """Does one command. Every member but `do` and the numbers is hexadecimal."""
    given = {
        name: bytes.fromhex(value) if isinstance(value, str) else value
        for name, value in command.items()
        if name != "do"
    }
    kek = Kek(given["kek"], given["kek_version"]) if "kek" in given else None
    place = Place(*(given[name] for name in ("svm", "key_type", "object", "key_version"))) if "svm" in given else None
    nonce = os.urandom(NONCE)

    match command["do"]:
        case "seal key blob":
            blob = seal_key_blob(kek, place, given["algorithm"], given["key"], nonce)
            return {"blob": blob.hex()}
        case "open key blob":
            algorithm, key = open_key_blob(kek, place, given["blob"])
            return {"algorithm": algorithm, "key": key.hex()}
        case "name KEK":
            return {"id": kek.id.hex()}
        case "wrap":
            return {"wrapped": wrap(given["wrapping"], given["key"]).hex()}
        case "unwrap":
            return {"key": unwrap(given["wrapping"], given["wrapped"]).hex()}
        case "derive passphrase keys":
            wrapping, check = passphrase_keys(given["passphrase"], given["salt"], given["iterations"])
            return {"wrapping": wrapping.hex(), "check": check.hex()}
        case "derive unattended":
            return {"unattended": unattended(given["sealing_key"], given["keystore"]).hex()}
        case "seal record":
            record = seal_record(given["sealing_key"], given["table"], given["store_key"], given["plain"], nonce)
            return {"record": record.hex()}
        case "open record":
            plain = open_record(given["sealing_key"], given["table"], given["store_key"], given["record"])
            return {"plain": plain.hex()}
        case "seal backup body":
            return {"body": seal_backup_body(given["ckek"], given["header"], given["plain"], nonce).hex()}
        case "open backup body":
            return {"plain": open_backup_body(given["ckek"], given["header"], given["body"]).hex()}
        case unknown:
            raise ValueError(f"no such command: {unknown}")


def main() -> None:
    answers = []
    for command in json.load(sys.stdin):
        try:
            answers.append(answer(command))
        except Refused as refusal:
            answers.append({"refused": str(refusal)})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
