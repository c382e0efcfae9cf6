//! Codes of the key managers: onboard, and KMIP servers.

use super::codes;

codes! {
    _ = 65536038 BAD_REQUEST Kmip
        "At most 4 active key servers are allowed."
        "POST key-managers with 5 external.servers, or add a 5th through key-servers.";
    WRONG_PASSPHRASE = 65536139 BAD_REQUEST Here
        "existing_passphrase does not match the current passphrase."
        "a passphrase change, a synchronization, or Common Criteria mode, with a wrong existing passphrase";
    SAME_PASSPHRASE = 65536150 BAD_REQUEST Here
        "The new passphrase is same as old passphrase."
        "a passphrase change whose two passphrases are the same, and right";
    SVM_KEY_NOT_DELETED = 65536208 INTERNAL_SERVER_ERROR Here
        "The SVM key ID could not be deleted."
        "an onboard delete where a KEK without keys cannot be dropped";
    CKEK_NOT_GENERATED = 65536214 INTERNAL_SERVER_ERROR Here
        "The cluster key encryption key could not be generated."
        "an onboard create, while the system's random source fails";
    CKEK_NOT_STORED = 65536216 INTERNAL_SERVER_ERROR Here
        "The cluster key encryption key could not be stored."
        "an onboard create whose write to the store fails";
    WRAPPED_KDB_NOT_DELETED = 65536233 INTERNAL_SERVER_ERROR Here
        "Deleting the onboard wrapped key database (km_wrapped_kdb) failed."
        "an onboard delete where the keystore's record cannot be deleted";
    _ = 65536234 INTERNAL_SERVER_ERROR Never
        "Deleting the onboard cluster key database (cluster_kdb) failed."
        "The cluster's keystore is one record; a failure to delete it is 65536233.";
    ENCRYPTED_VOLUMES = 65536239 CONFLICT Here
        "Encrypted volumes exist for the SVM."
        "an onboard delete while a KEK that it keeps protects keys";
    DRIVES_HOLD_KEYS = 65536242 CONFLICT Here
        "Self-encrypting drives hold an authentication key."
        "an onboard delete while the fact storage.drives_with_keys is not 0, or a drive's key is registered";
    PARTNER_UNHEALTHY = 65536310 CONFLICT Here
        "Onboard setup refused: the MetroCluster peer is unhealthy."
        "an onboard create in a MetroCluster, while the fact metrocluster.partner_healthy is false or unknown";
    CHANGE_LENGTH = 65536404 BAD_REQUEST Here
        "The passphrase length is not accepted."
        "a passphrase change to one of 31 or 257 characters";
    CHANGE_FAILED = 65536406 INTERNAL_SERVER_ERROR Here
        "Changing the passphrase failed."
        "a passphrase change whose write to the store fails";
    _ = 65536407 INTERNAL_SERVER_ERROR Never
        "The passphrase update failed on some nodes."
        "There is one node.";
    _ = 65536408 INTERNAL_SERVER_ERROR Never
        "The passphrase update failed on some nodes (same text, other internal step)."
        "There is one node.";
    NO_PLATFORM_ENCRYPTION = 65536508 BAD_REQUEST Here
        "The platform has no data-at-rest encryption support."
        "an onboard create, while the fact cluster.platform_encryption is false or unknown";
    ONBOARD_KEYS_UNREADABLE = 65536800 INTERNAL_SERVER_ERROR Here
        "Onboard keys could not be looked up."
        "an onboard delete while a KEK's record is damaged";
    CHANGE_LENGTH_COMMON_CRITERIA = 65536802 BAD_REQUEST Here
        "The passphrase length is not accepted in Common Criteria mode."
        "a passphrase change in Common Criteria mode to one of 32 to 63 characters";
    CORE_FILES = 65536813 CONFLICT Here
        "Encrypted kernel core files exist."
        "an onboard delete while the fact storage.encrypted_core_files is true";
    NOT_KNOWN_SAFE = 65536817 INTERNAL_SERVER_ERROR Here
        "It could not be determined whether the key manager is safe to disable."
        "an onboard delete while a fact that guards it is unknown";
    _ = 65536821 BAD_REQUEST Kmip
        "A certificate named in the request is not installed."
        "POST or PATCH with a random UUID in external.client_certificate or server_ca_certificates.";
    _ = 65536822 BAD_REQUEST Kmip
        "Multitenant (SVM-scoped) key management is not supported by the cluster version."
        "Profile cluster version below 9.6; SVM-scoped POST, PATCH or DELETE.";
    _ = 65536823 CONFLICT Kmip
        "The SVM has a key manager already."
        "POST an external key manager twice for one SVM (or cluster).";
    _ = 65536824 BAD_REQUEST Kmip
        "Multitenant key management is not supported in a MetroCluster."
        "Profile metrocluster=true; SVM-scoped POST.";
    VOLUMES_UNREADABLE = 65536827 INTERNAL_SERVER_ERROR Here
        "It could not be determined whether the SVM has encrypted volumes."
        "an onboard delete while the keys cannot be read";
    EXTERNAL_NOT_ENABLED = 65536828 NOT_FOUND Here
        "External key management is not enabled for the SVM."
        "a PATCH of external fields on the onboard key manager";
    _ = 65536834 INTERNAL_SERVER_ERROR Kmip
        "The existing key-server details of the SVM could not be read."
        "Fault hook: read of the key-server table fails.";
    _ = 65536850 BAD_REQUEST Kmip
        "The new client certificate has a different key pair than the current one."
        "PATCH external.client_certificate to a certificate with another key.";
    _ = 65536852 INTERNAL_SERVER_ERROR Kmip
        "The KMIP versions supported by the server could not be queried."
        "KMIP test server accepts TLS but answers DiscoverVersions with an error or closes.";
    KEEPS_KEYS = 65536867 CONFLICT Here
        "Encrypted volumes of the SVM keep their keys in this key manager."
        "disabling a keystore that keeps a KEK that protects keys";
    _ = 65536870 CONFLICT Kmip
        "Key servers are configured already."
        "POST external for a scope that already has key servers; or add a server that is present.";
    _ = 65536871 BAD_REQUEST Kmip
        "The request names the same key server twice."
        "POST with external.servers [h:5696, h] (default port makes them equal).";
    _ = 65536876 BAD_REQUEST Kmip
        "External key management needs client and server CA certificates and at least one server."
        "POST external with one of the three missing or empty.";
    _ = 65536878 CONFLICT Kmip
        "External key management refused: volume keys of this SVM are held on the cluster's key server."
        "Encrypted volume on the SVM with keys in the cluster external manager, then POST an SVM-scoped manager.";
    _ = 65536895 CONFLICT Kmip
        "External refused: the MetroCluster partner runs the Onboard Key Manager."
        "Profile metrocluster=true, partner.key_manager=onboard; POST external.";
    PARTNER_EXTERNAL = 65536900 CONFLICT Here
        "Onboard refused: the MetroCluster partner runs an external key manager."
        "an onboard create in a MetroCluster whose partner has an external key manager";
    _ = 65536903 INTERNAL_SERVER_ERROR Never
        "Onboard setup failed on some nodes; they must be synchronized."
        "There is one node.";
    PARTNER_ONBOARD = 65536906 CONFLICT Here
        "Onboard exists at the partner site; synchronize with the same passphrase instead."
        "an onboard create without synchronize in a MetroCluster whose partner has an onboard key manager";
    ONBOARD_EXISTS = 65536907 CONFLICT Here
        "Onboard is configured already; synchronize nodes instead."
        "a second onboard create";
    ONBOARD_DATA_SVM = 65536916 BAD_REQUEST Here
        "Onboard is only possible for the admin SVM."
        "an onboard create for a data SVM";
    CHANGE_HALF = 65536917 BAD_REQUEST Here
        "Changing the onboard passphrase needs both passphrase and existing_passphrase."
        "a passphrase change with one of passphrase and existing_passphrase";
    ONBOARD_LENGTH = 65536920 BAD_REQUEST Here
        "The onboard passphrase has a wrong length."
        "an onboard create whose passphrase is missing or has a length that is not allowed";
    SYNC_CREATE_PASSPHRASE = 65537240 BAD_REQUEST Here
        "POST with synchronize needs passphrase."
        "an onboard create with synchronize and without a passphrase";
    SYNC_CREATE_EXISTING = 65537241 BAD_REQUEST Here
        "POST with synchronize must not carry existing_passphrase."
        "an onboard create with synchronize and existing_passphrase";
    SYNC_EXISTING = 65537242 BAD_REQUEST Here
        "PATCH with synchronize needs existing_passphrase."
        "a synchronization without existing_passphrase";
    SYNC_PASSPHRASE = 65537243 BAD_REQUEST Here
        "PATCH with synchronize must not carry passphrase."
        "a synchronization with a passphrase";
    SYNC_CREATE_CONFIGURED = 65537244 CONFLICT Here
        "Sync-create refused: onboard already configured on this cluster."
        "an onboard create with synchronize in a MetroCluster, while there is one here";
    SYNC_CREATE_NO_PARTNER = 65537245 CONFLICT Here
        "Sync-create refused: onboard is not configured on the partner."
        "an onboard create with synchronize in a MetroCluster whose partner has none";
    SYNC_CREATE_NO_METROCLUSTER = 65537246 BAD_REQUEST Here
        "Sync-create refused: this cluster is not in a MetroCluster."
        "an onboard create with synchronize outside a MetroCluster";
    _ = 66060338 INTERNAL_SERVER_ERROR Kmip
        "TLS to a key server failed because of the server CA certificates."
        "KMIP test server with a certificate from another CA.";
    _ = 66060339 INTERNAL_SERVER_ERROR Kmip
        "TLS to a key server failed because of the client certificate."
        "KMIP test server that requires a client certificate from another CA.";
    _ = 66060340 INTERNAL_SERVER_ERROR Kmip
        "TLS to a key server failed inside the KMIP client library (\"Cryptsoft\")."
        "Peer speaks something other than TLS/KMIP, or offers no common cipher.";
    _ = 66060341 INTERNAL_SERVER_ERROR Kmip
        "TLS to a key server failed because of network configuration."
        "Closed port, unroutable address, unresolved name, or connect timeout.";
    ENCRYPTION_TYPE_UNKNOWN = 196608301 INTERNAL_SERVER_ERROR Here
        "The encryption type could not be determined."
        "an onboard delete while the fact storage.nae_aggregates is unknown";
    NAE_AGGREGATES = 196608305 CONFLICT Here
        "NAE (aggregate-encrypted) aggregates exist in the cluster."
        "an onboard delete while the fact storage.nae_aggregates names some, or an aggregate's key is registered";
}
