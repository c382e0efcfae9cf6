//! Codes of the Azure Key Vault endpoints.

use super::codes;

codes! {
    _ = 3735553 INTERNAL_SERVER_ERROR Azure
        "A self-signed certificate could not be created."
        "Fault hook in certificate generation for the embedded KMIP channel.";
    _ = 3735664 BAD_REQUEST Azure
        "The key size is not allowed in FIPS mode."
        "FIPS profile; PKCS12 with a 1024-bit RSA key.";
    _ = 3735665 BAD_REQUEST Azure
        "The hash function is not allowed in FIPS mode."
        "FIPS profile; PKCS12 certificate signed with SHA-1.";
    _ = 3735700 BAD_REQUEST Azure
        "The key size is not supported."
        "PKCS12 with a 512-bit RSA key.";
    _ = 52559972 BAD_REQUEST Azure
        "The certificate is not yet valid (start date in the future)."
        "PKCS12 whose notBefore is tomorrow.";
    _ = 65536243 INTERNAL_SERVER_ERROR Azure
        "It cannot be determined whether self-encrypting drives hold an authentication key."
        "Fault hook in the drive query.";
    _ = 65536924 CONFLICT Azure
        "The key manager still holds NSE authentication keys."
        "Create an auth-key, then DELETE the manager.";
    _ = 65537120 NOT_FOUND Azure
        "AKV is not configured for the SVM."
        "Any {uuid} call with an unknown UUID, or one of another key-manager type.";
    _ = 65537500 CONFLICT Azure
        "The SVM has a key manager already."
        "POST an active AKV for an SVM with an enabled key manager.";
    _ = 65537504 INTERNAL_SERVER_ERROR Azure
        "The configuration could not be stored."
        "Fault hook: store write fails.";
    _ = 65537505 CONFLICT Azure
        "Volume keys of the SVM are held by the admin SVM's key manager."
        "Encrypted volume under the cluster manager, then POST AKV for that SVM.";
    _ = 65537506 BAD_REQUEST Azure
        "AKV cannot be used in a MetroCluster."
        "Profile metrocluster=true; POST.";
    _ = 65537512 BAD_REQUEST Azure
        "Not every node can enable AKV."
        "Profile: one node below 9.8; POST.";
    _ = 65537514 INTERNAL_SERVER_ERROR Azure
        "It could not be checked whether the AKV feature is enabled."
        "Fault hook.";
    _ = 65537515 INTERNAL_SERVER_ERROR Azure
        "Keys could not be restored on some nodes."
        "POST restore while the vault is unreachable from one simulated node.";
    _ = 65537517 BAD_REQUEST Azure
        "client_secret must be given."
        "PATCH client_id or tenant_id of a secret-authenticated configuration without client_secret.";
    _ = 65537518 INTERNAL_SERVER_ERROR Azure
        "No network interface with the Cluster role."
        "Profile without cluster interface; POST.";
    _ = 65537523 BAD_REQUEST Azure
        "key_id format is wrong; expected https://<vault>/keys/<name>/<32 hex version>."
        "POST key_id \"abc\".";
    _ = 65537526 INTERNAL_SERVER_ERROR Azure
        "The AKV feature could not be enabled."
        "Fault hook.";
    _ = 65537540 BAD_REQUEST Azure
        "The client secret is not valid."
        "PATCH client_secret that the login endpoint rejects, skip_verification=false.";
    _ = 65537541 BAD_REQUEST Azure
        "The PATCH carries no input."
        "PATCH {}.";
    _ = 65537544 INTERNAL_SERVER_ERROR Azure
        "The wrapped top-level KEK is missing from the internal database."
        "POST restore before any key exists, or after deleting the wrapped-KEK row.";
    _ = 65537549 OK Azure
        "Azure Key Vault cannot be reached from at least one node."
        "Stop the vault or login endpoint; GET fields=azure_reachability.";
    _ = 65537552 OK Azure
        "The embedded KMIP server status is not available."
        "Mark a node's embedded KMIP service down; GET fields=ekmip_reachability.";
    _ = 65537567 BAD_REQUEST Azure
        "No authentication method: neither client_secret nor client_certificate."
        "POST without both.";
    _ = 65537573 BAD_REQUEST Azure
        "The client certificate is not valid."
        "POST or PATCH client_certificate that is not a readable PKCS12.";
    _ = 65537577 BAD_REQUEST Azure
        "Certificate authentication refused: not every node supports it."
        "Profile: one node below 9.10; PATCH client_certificate.";
    _ = 65537589 CONFLICT Azure
        "configuration.name exists already on the SVM."
        "POST create_inactive=true twice with one name.";
    _ = 65537592 BAD_REQUEST Azure
        "configuration.name needs effective cluster version 9.14.0."
        "Profile version 9.13; POST with configuration.name.";
    _ = 65537593 BAD_REQUEST Azure
        "create_inactive needs effective cluster version 9.14.0."
        "Profile version 9.13; POST?create_inactive=true.";
    _ = 65537594 BAD_REQUEST Azure
        "create_inactive=true needs configuration.name."
        "POST?create_inactive=true without it.";
    _ = 65537595 BAD_REQUEST Azure
        "configuration.name is only allowed with create_inactive=true."
        "POST with configuration.name and no flag.";
    _ = 65538902 BAD_REQUEST Azure
        "The configuration name is reserved for the system (for example \"default\")."
        "POST?create_inactive=true, configuration.name \"default\".";
    _ = 65538903 BAD_REQUEST Azure
        "configuration.name is empty."
        "POST?create_inactive=true, configuration.name \"\".";
    _ = 65539704 CONFLICT Azure
        "The SVM has NAE volumes."
        "Volume of the SVM on a simulated NAE aggregate; POST.";
    _ = 196608080 CONFLICT Azure
        "A node's root volume is encrypted with NVE."
        "Simulated encrypted root volume; DELETE.";
}
