//! Codes of the Barbican endpoints, and of what they share with others.

use super::codes;

codes! {
    NOT_LICENSED = 1115127 BAD_REQUEST Here
        "The license package MT_EK_MGMT is not installed in the cluster."
        "a Barbican create, while the fact licenses.mt_ek_mgmt is false or unknown";
    KEY_NOT_GENERATED = 65536205 INTERNAL_SERVER_ERROR Here
        "The SVM key could not be generated (kernel side)."
        "a rekey, while the system's random source fails";
    _ = 65536882 INTERNAL_SERVER_ERROR Never
        "A UUID needed internally is missing."
        "The UUIDs that a rekey needs are parts of typed records; there is no state in which one is missing.";
    VOLUME_KEY_MISSING = 65536883 INTERNAL_SERVER_ERROR Here
        "A volume encryption key is missing."
        "a rekey of an SVM with an encrypted volume whose key record is gone";
    VOLUME_KEY_INVALID = 65536884 INTERNAL_SERVER_ERROR Here
        "A volume encryption key is not valid."
        "a rekey that meets a key record of another place, or under a KEK that is not known";
    VOLUME_BLOB_INVALID = 65536889 INTERNAL_SERVER_ERROR Here
        "A volume has an invalid encryption blob."
        "a rekey that meets a key record that is no blob of format 1";
    _ = 65536973 INTERNAL_SERVER_ERROR Never
        "A volume's data-set id (DSID) is missing."
        "A key is named by its object's UUID; there is no data-set id beside it.";
    KEK_NOT_UNWRAPPED = 65537533 INTERNAL_SERVER_ERROR Here
        "The SVM key encryption key could not be unwrapped."
        "a job that meets a KEK that does not open from what its keeper keeps";
    MIXED = 65537547 CONFLICT Here
        "Some volume keys of this data SVM are held by the admin SVM's key manager; migrate them first."
        "a rekey while the cluster's keystore keeps the SVM's KEK and the SVM has an enabled keystore of its own";
    KEK_UNAVAILABLE = 65537551 OK Here
        "The top-level key protection key (KEK) is not available on at least one node."
        "a GET with state, while the SVM's KEK is not in memory";
    BLOCKED = 65537556 INTERNAL_SERVER_ERROR Here
        "The external key manager is blocked: top-level key not found, disabled, or not permitted."
        "a job, or a change of keystores, while the keeper refuses";
    NO_KEYS = 65537559 CONFLICT Here
        "The SVM has no internal keys; rekey needs at least one key."
        "a rekey or a migration before the SVM's first key";
    BLOB_NOT_UPDATED = 65537565 INTERNAL_SERVER_ERROR Here
        "The volume key (VDEK) blob could not be updated."
        "a rekey whose write to the store fails";
    SWITCHING = 65537610 CONFLICT Here
        "Rekey refused while the enabled keystore is being switched, or a previous switch failed half way; re-run PATCH key-stores."
        "a rekey while the keystore is being switched, or a switch was interrupted";
    _ = 65539200 INTERNAL_SERVER_ERROR Never
        "The key custodian was given no external key-value store."
        "An engine cannot be built without its store.";
    ENCRYPT_FAILED = 65539201 INTERNAL_SERVER_ERROR Here
        "Encrypt operation failed."
        "a rekey that finds no room in key memory";
    DECRYPT_FAILED = 65539202 INTERNAL_SERVER_ERROR Here
        "Decrypt operation failed."
        "a rekey that meets a key whose ciphertext or tag is damaged";
    UPDATE_CHECK_FAILED = 65539223 INTERNAL_SERVER_ERROR Here
        "The health check of Barbican failed during an update."
        "a Barbican update in whose way Barbican does not give the secret";
    REPLY_UNREADABLE = 65539416 INTERNAL_SERVER_ERROR Here
        "The reply of the key-value store could not be parsed."
        "a job whose keeper answers what cannot be read";
    INITIALIZING = 65539436 CONFLICT Here
        "Rekey refused while the enabled keystore is initializing."
        "a rekey while the keystore is being enabled";
    DISABLING = 65539437 CONFLICT Here
        "Rekey refused while the enabled keystore is being disabled."
        "a rekey while the keystore is being disabled";
    BARBICAN_UNREACHABLE = 65539801 INTERNAL_SERVER_ERROR Here
        "Barbican cannot be reached from at least one node."
        "a GET with barbican_reachability, and the end of a job, while Barbican is not to be reached";
    CREATE_SECRET = 65539805 BAD_REQUEST Here
        "Create refused: application_cred_secret missing or not valid."
        "a Barbican create without application_cred_secret, or with an empty one";
    BARBICAN_VERSION = 65539806 BAD_REQUEST Here
        "Barbican needs every node at effective cluster version 9.17 or later."
        "a Barbican create, while the fact cluster.version is below 9.17 or unknown";
    BARBICAN_ADMIN_SVM = 65539807 BAD_REQUEST Here
        "Barbican cannot be used for the admin SVM."
        "a Barbican create for the admin SVM";
    BARBICAN_NAME_TAKEN = 65539808 CONFLICT Here
        "A Barbican configuration of that name exists already (name is unique per SVM)."
        "a Barbican create with a name that the SVM has already";
    BARBICAN_METROCLUSTER = 65539809 BAD_REQUEST Here
        "Barbican cannot be used in a MetroCluster."
        "a Barbican create, while the fact metrocluster.configured is true or unknown";
    CREATE_KEY_ID = 65539810 BAD_REQUEST Here
        "Create refused: key_id missing or invalid; scheme must be https."
        "a Barbican create whose key_id is missing or no https URL of a secret";
    CREATE_KEYSTONE_URL = 65539811 BAD_REQUEST Here
        "Create refused: keystone_url missing or invalid; scheme must be https."
        "a Barbican create whose keystone_url is missing or no https URL of a Keystone";
    UPDATE_SECRET = 65539814 BAD_REQUEST Here
        "Update refused: application_cred_secret missing or not valid."
        "a Barbican update with an empty application_cred_secret";
    UPDATE_CREDENTIAL_ID = 65539815 BAD_REQUEST Here
        "Update refused: application_cred_id missing or not valid."
        "a Barbican update with an empty application_cred_id";
    BARBICAN_NOT_CONFIGURED = 65539817 NOT_FOUND Here
        "Barbican is not configured (no usable configuration under that UUID)."
        "a rekey or restore of a UUID that is no Barbican configuration's";
    BARBICAN_UNKNOWN = 65539832 NOT_FOUND Here
        "No Barbican configuration with that UUID."
        "a Barbican update of a UUID that is no Barbican configuration's";
    _ = 65539834 INTERNAL_SERVER_ERROR Never
        "The new key ID cannot be found."
        "A new KEK is in the job's memory until one commit makes it current; it cannot be lost in between.";
    CREATE_CREDENTIAL_ID = 65539835 BAD_REQUEST Here
        "Create refused: application_cred_id is empty."
        "a Barbican create without application_cred_id, or with an empty one";
    NONE_ENABLED = 65539836 CONFLICT Here
        "No key management service is configured for the SVM."
        "a rekey by a configuration of an SVM that has no enabled keystore of its own";
    CREDENTIAL_HALF = 65539841 BAD_REQUEST Here
        "application_cred_id and application_cred_secret must be given together."
        "a Barbican update with one of application_cred_id and application_cred_secret";
    NOT_RESTORED = 65539842 INTERNAL_SERVER_ERROR Here
        "The SVM-KEK could not be restored on at least one node."
        "a restore whose keeper does not give the KEK";
    KEK_NOT_IMPORTED = 65539844 INTERNAL_SERVER_ERROR Here
        "The SVM-KEK could not be imported."
        "a job whose keeper gives another KEK back than it was given";
    _ = 196608088 INTERNAL_SERVER_ERROR Never
        "The status of an encryption operation could not be read."
        "A rekey re-wraps keys, and asks no volume for the state of its encryption.";
    _ = 196608352 INTERNAL_SERVER_ERROR Never
        "The encryption blob is not in the replicated database table."
        "Keys lie in one table; what is missing there is 65536883.";
}
