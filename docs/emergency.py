#!/usr/bin/env python3
"""Opens keys that claviger wrapped, with nothing of claviger: docs/emergency.md says when and how, docs/formats.md what the bytes are.

emergency.py from-backup BACKUP PASSPHRASE SVM   prints the SVM's KEKs as they are kept; PASSPHRASE is a file
emergency.py from-store DIR SVM                  the same, from a hierarchy's directory with its sealing.key
emergency.py unwrap KEPT TOP-LEVEL-KEY           writes each of these KEKs that this key wraps to kek-VERSION; both are files
emergency.py blobs DIR                           lists what keys there are in a store's files
emergency.py open DIR OBJECT KEK...              writes an object's keys to key-VERSION; each KEK is a file kek-VERSION

Needs Python 3.9 and the package `cryptography`. SVM and OBJECT are UUIDs. DIR must not be in use: work on a copy.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

BLOB = struct.Struct(">4sBBBB16s16sII16s")  # magic, format, suite, type, algorithm, SVM, object, versions of key and KEK, kek_id
TYPES = {1: "volume", 2: "aggregate", 3: "drive"}
LENGTHS = {1: 64, 2: 32}  # XTS-AES-256, AES-256
KEYSTORES, KEKS = 3, 4  # tables


def short_hmac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()[:16]


def kek_id(kek, version):
    return short_hmac(kek, b"claviger-kek-id-1" + struct.pack(">I", version))


def expand(key, info):
    return HKDFExpand(algorithm=SHA256(), length=32, info=info).derive(key)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, secret):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    print("wrote %s: %d bytes" % (path, len(secret)))


def files(directory):
    """The bytes of each file below, whatever database wrote it: records lie in it as they are."""
    for place, _, names in os.walk(directory):
        for name in sorted(names):
            yield read(os.path.join(place, name))


def finds(data, magic):
    at = data.find(magic)
    while at >= 0:
        yield at
        at = data.find(magic, at + 1)


# ---- KEKs as they are kept


def dictionaries(value):
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from dictionaries(inner)


def kept_keks(records):
    """Each KEK in these records, once for each keystore that keeps it, and where that keystore's top-level key was."""
    entries = [entry for entry in dictionaries(records) if "kek_id" in entry and "kept" in entry]
    keystores = [one for one in dictionaries(records) if "barbican" in one.get("keeper", ())]
    keks = []
    for entry in entries:
        for kept in entry["kept"]:
            at = {one["keeper"]["barbican"]["key_id"] for one in keystores if one["keystore"] == kept["keystore"]}
            kek = {
                "version": entry["kek_version"],
                "id": entry["kek_id"],
                "keystore": kept["keystore"],
                "key_id": " or ".join(sorted(at)),
                "top_level_key": kept["bytes"][:-80],
                "wrapped": kept["bytes"][-80:],
            }
            if kek not in keks:
                keks.append(kek)
    return {"keks": keks}


def from_backup(path, passphrase_file, svm):
    text = read(path).decode().split("-----BEGIN BACKUP-----")[1].split("-----END BACKUP-----")[0]
    backup = base64.b64decode("".join(text.split()))
    body, digest = backup[:-32], backup[-32:]
    if hashlib.sha256(body).digest() != digest:
        sys.exit("the backup is damaged")
    passphrase = read(passphrase_file).rstrip(b"\n")
    iterations, salt, check, wrapped = struct.unpack(">I32s32s40s", body[6:114])
    prk = hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations, 32)
    if not hmac.compare_digest(expand(prk, b"claviger-passphrase-check-1"), check):
        sys.exit("the passphrase is not the backup's")
    ckek = aes_key_unwrap(expand(prk, b"claviger-passphrase-wrap-1"), wrapped)
    plain = AESGCM(expand(ckek, b"claviger-backup-1")).decrypt(body[118:130], body[130:], body[:118])
    hierarchy = json.loads(plain)
    return kept_keks([one for part in ("svm_keystores", "keks") for one in hierarchy.get(part, ()) if one["svm"] == svm])


def from_store(directory, svm):
    sealing_key = read(os.path.join(directory, "sealing.key"))
    if len(sealing_key) != 37 or sealing_key[:5] != b"CLVK\x01":
        sys.exit("sealing.key is no sealing key")
    sealing_key = sealing_key[5:]
    key, name = expand(sealing_key, b"claviger-sealing-1"), short_hmac(sealing_key, b"claviger-seal-id-1")
    of_svm = uuid.UUID(svm).bytes
    records = []
    for data in files(os.path.join(directory, "store")):
        for table, store_key in ((KEYSTORES, b"\x01" + of_svm), (KEKS, of_svm)):
            for at in finds(data, struct.pack(">4sBBBB", b"CLVS", 1, 1, table, 0) + name):
                records.append(sealed_record(key, store_key, data[at : at + 33_000]))
    return kept_keks([record for record in records if record is not None])


def sealed_record(key, store_key, data):
    """The record at the beginning of `data`, if it has this store key. Nothing says where it ends but itself."""
    prefix, nonce = data[:24], data[24:36]
    stream = Cipher(algorithms.AES(key), modes.CTR(nonce + struct.pack(">I", 2))).decryptor()
    try:
        _, length = json.JSONDecoder().raw_decode(stream.update(data[36:]).decode("latin-1"))
        associated = b"claviger-record-1" + prefix + struct.pack(">I", len(store_key)) + store_key
        return json.loads(AESGCM(key).decrypt(nonce, data[36 : 36 + length + 16], associated))
    except (ValueError, InvalidTag):
        return None


def unwrap(kept_file, top_level_file):
    top_level_key = read(top_level_file)
    if len(top_level_key) != 32:
        sys.exit("the top-level key has %d bytes, not 32" % len(top_level_key))
    name, found = short_hmac(top_level_key, b"claviger-top-level-key-1"), set()
    for kek in json.loads(read(kept_file))["keks"]:
        version = kek["version"]
        if version in found:
            continue
        if kek["top_level_key"] != name.hex():
            print("KEK version %d in keystore %s: kept under another top-level key" % (version, kek["keystore"]))
            continue
        try:
            unwrapped = aes_key_unwrap(top_level_key, bytes.fromhex(kek["wrapped"]))
        except InvalidUnwrap:
            sys.exit("KEK version %d: the top-level key is the right one, and what is kept is damaged" % version)
        if kek_id(unwrapped, version).hex() != kek["id"]:
            sys.exit("KEK version %d: what is kept is another KEK" % version)
        print("KEK version %d: the top-level key is the right one, and so is the KEK's id" % version)
        write("kek-%d" % version, unwrapped)
        found.add(version)
    if not found:
        sys.exit("none of these KEKs is kept under this top-level key")


# ---- keys


def blobs(directory):
    """Every key blob in the files: also some that are no longer in force, as a database overwrites late."""
    seen = set()
    for data in files(directory):
        for at in finds(data, b"CLVG\x01\x01"):
            if len(data) - at < BLOB.size:
                continue
            header = BLOB.unpack_from(data, at)
            length = BLOB.size + 12 + LENGTHS.get(header[4], 0) + 16
            blob = data[at : at + length]
            if header[3] in TYPES and header[4] in LENGTHS and len(blob) == length and blob not in seen:
                seen.add(blob)
                yield header, blob


def list_blobs(directory):
    lines = {
        "svm %s %s %s key version %d under KEK version %d"
        % (uuid.UUID(bytes=svm), TYPES[kind], uuid.UUID(bytes=thing), version, kek_version)
        for (_, _, _, kind, _, svm, thing, version, kek_version, _), _ in blobs(directory)
    }
    print("\n".join(sorted(lines)))


def open_key(directory, thing, kek_files):
    keks = [read(path) for path in kek_files]
    keys = {}
    for (_, _, _, _, _, _, named, version, kek_version, name), blob in blobs(directory):
        if named != uuid.UUID(thing).bytes:
            continue
        for kek in keks:
            if kek_id(kek, kek_version) == name:
                try:
                    keys.setdefault(version, set()).add(AESGCM(kek).decrypt(blob[64:76], blob[76:], blob[:64]))
                except InvalidTag:
                    print("a blob of key version %d is damaged" % version)
    if not keys:
        sys.exit("no key of this object is under these KEKs")
    for version, found in sorted(keys.items()):
        # More than one where the object was deleted and made again: its data tells which.
        for number, key in enumerate(sorted(found)):
            write("key-%d%s" % (version, "-%d" % number if number else ""), key)


def show(kept):
    if not kept["keks"]:
        sys.exit("no KEK of this SVM was found")
    print(json.dumps(kept, indent=1))


def main(words):
    commands = {
        ("from-backup", 3): lambda backup, passphrase, svm: show(from_backup(backup, passphrase, svm)),
        ("from-store", 2): lambda directory, svm: show(from_store(directory, svm)),
        ("unwrap", 2): unwrap,
        ("blobs", 1): list_blobs,
    }
    if words[:1] == ["open"] and len(words) > 3:
        open_key(words[1], words[2], words[3:])
    elif words and (words[0], len(words) - 1) in commands:
        commands[words[0], len(words) - 1](*words[1:])
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
