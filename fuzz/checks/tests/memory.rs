//! Long inputs, and inputs that promise long ones: the checks panic where decoding takes more memory than its input allows.

use claviger_fuzz_checks::{
    backup_bytes, backup_hierarchy, backup_text, key_record, record_jobs, record_keks, record_keystores, sealed_record,
    store_header, svm_name,
};

const LONG: usize = 256 << 10;

fn keyed(json: &str) -> Vec<u8> {
    [&[16], [0x0b; 16].as_slice(), json.as_bytes()].concat()
}

#[test]
fn decoders_take_memory_in_proportion_to_their_input() {
    let arrays = format!("[{}]", vec!["[]"; LONG / 3].join(","));
    let deep = "[".repeat(LONG);
    let numbers = format!("[{}]", vec!["0"; LONG / 2].join(","));
    for value in [&arrays, &deep, &numbers, &"9".repeat(LONG), &format!("\"{}\"", "ab".repeat(LONG / 2))] {
        for member in ["version", "kept", "current", "cursor", "unknown", "message", "salt"] {
            let json = format!("{{\"{member}\":{value}}}");
            record_keks(&keyed(&json));
            record_jobs(&keyed(&json));
            record_keystores(&keyed(&json));
            backup_hierarchy(json.as_bytes());
            store_header(json.as_bytes());
        }
        record_jobs(&keyed(value));
        store_header(value.as_bytes());
    }

    let uuid = "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b";
    let kept = format!("{{\"keystore\":\"{uuid}\",\"bytes\":\"\"}}");
    let discard =
        format!("{{\"running\":{{\"step\":{{\"discard\":{{\"kept\":[{}]}}}}}}}}", vec![kept; LONG / 64].join(","));
    let rewrap = format!("{{\"running\":{{\"step\":{{\"rewrap\":{{\"cursor\":\"{}\"}}}}}}}}", "ab".repeat(LONG / 2));
    for phase in [discard, rewrap] {
        record_jobs(&keyed(&format!(
            "{{\"version\":1,\"job\":\"{uuid}\",\"plan\":{{\"rekey_internal\":{{\"svm\":\"{uuid}\"}}}},\
             \"started\":\"2026-02-03T04:05:06Z\",\"done\":7,\"total\":null,\"phase\":{phase}}}"
        )));
    }
    let seal = format!("{{\"version\":1,\"svm\":\"{uuid}\",\"kek_version\":1,\"reserved\":1}}");
    backup_hierarchy(format!("{{\"seals\":[{}]}}", vec![seal; LONG / 64].join(",")).as_bytes());

    let mut header = [b"CLVB\x01\x01".as_slice(), &600_000_u32.to_be_bytes(), &[0xc4; 104]].concat();
    for length in [0, 1 << 16, 64 << 20, u32::MAX] {
        let bytes = [&header, length.to_be_bytes().as_slice(), &[0xb0; 28]].concat();
        backup_bytes(&bytes);
    }
    header.resize(LONG, 0xb0);
    backup_bytes(&header);
    for text in ["A".repeat(LONG), "\n".repeat(LONG), "-----BEGIN BACKUP-----".repeat(LONG / 22)] {
        backup_text(format!("-----BEGIN BACKUP-----\n{text}\n-----END BACKUP-----").as_bytes());
    }

    sealed_record(&vec![0; LONG]);
    key_record(&vec![1; LONG]);
    svm_name("a".repeat(LONG).as_bytes());
}
