//! Codes of the endpoints that the contract takes from public documentation: those that this release reaches.

use super::codes;

codes! {
    KEYSTORES_VERSION = 262155 BAD_REQUEST Here
        "This operation needs effective cluster version 9.14.0 or later."
        "the deletion of a keystore, while the fact cluster.version is below 9.14 or unknown";
    KEYSTORE_ENABLED = 65538905 CONFLICT Here
        "The keystore configuration is enabled and cannot be deleted."
        "the deletion of the enabled keystore";
    KEYSTORE_TYPE = 65538907 BAD_REQUEST Here
        "Deleting that type of configuration is not supported by this method."
        "the deletion of the onboard key manager as a keystore";
    KEYSTORE_UNKNOWN = 65538908 NOT_FOUND Here
        "No such keystore configuration, or a type this operation does not support."
        "the deletion of a keystore that does not exist";
    DISABLE_TYPE = 65539522 BAD_REQUEST Here
        "Disabling that keystore type is not supported on the admin SVM."
        "disabling the cluster's onboard keystore";
    KEYSTORE_SWITCHING = 65539593 CONFLICT Here
        "Inactive configurations cannot be deleted while the keystore is switching."
        "the deletion of a keystore while the SVM's is being switched";
    CC_VERSION = 65536805 BAD_REQUEST Here
        "Common Criteria mode needs effective cluster version 9.4."
        "a change of Common Criteria mode, while the fact cluster.version is below 9.4 or unknown";
    CC_LENGTH = 65536806 BAD_REQUEST Here
        "Passphrase length error."
        "Common Criteria mode with a passphrase of fewer than 64 characters";
    CC_METROCLUSTER = 65536807 BAD_REQUEST Here
        "MetroCluster cannot be configured in Common Criteria mode."
        "Common Criteria mode, while the fact metrocluster.configured is true or unknown";
    CC_DISABLED = 65536809 CONFLICT Here
        "Common Criteria mode is disabled on the cluster."
        "Common Criteria mode, while the fact cluster.common_criteria is false or unknown";
    CC_NO_ONBOARD = 65537301 CONFLICT Here
        "The Onboard Key Manager is not enabled."
        "a change of Common Criteria mode without an onboard key manager";
    CC_PASSPHRASE = 65537302 BAD_REQUEST Here
        "passphrase is needed to set cc_mode_enabled to true."
        "Common Criteria mode without the passphrase";
    POLLING_NO_EXTERNAL = 65537304 CONFLICT Here
        "Polling period cannot change: no external key management configured."
        "a change of the polling interval without an external key manager";
    JOB_ENDED = 458762 CONFLICT Here
        "The job has ended."
        "a change of a job that has ended";
    JOB_RUNNING = 458771 CONFLICT Here
        "The job is running."
        "resuming a job that runs";
    JOB_NOT_RUNNING = 458776 CONFLICT Here
        "The job is not running."
        "pausing a job that waits";
    JOB_NO_PAUSE = 458783 BAD_REQUEST Here
        "The job cannot be paused."
        "pausing a job";
    JOB_NO_CANCEL = 458784 BAD_REQUEST Here
        "The job cannot be cancelled."
        "cancelling a job that cannot be cancelled any more";
}
