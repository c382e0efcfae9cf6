//! POST: the onboard key manager.

use claviger::{Fact, KeystoreError, OnboardMode, PartnerKeyManager, PassphraseRules};

use super::super::passphrase::passphrase;
use super::COLLECTION;
use crate::call::{Call, instance};
use crate::codes::{self, key_managers as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::Body;
use crate::conventions::query::Query;
use crate::conventions::references;
use crate::problem::Problem;

const PASSPHRASE: &str = "onboard.passphrase";

pub(super) fn run(call: &Call<'_>, query: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let inactive = query.take_flag("create_inactive")?.unwrap_or(false);
    let engine = &call.service.engine;
    let svm = references::svm(call.service, body)?;
    if body.gives_any_of("external") {
        return Err(codes::unsupported("This release has no keeper for key servers."));
    }
    if !body.gives_any_of("onboard") {
        return Err(codes::invalid("onboard", "The field \"onboard.passphrase\" is missing."));
    }
    let is_data_svm = svm.as_ref().is_some_and(|svm| !svm.is_admin());
    if is_data_svm || body.text("scope") == Some("svm") {
        return Err(code::ONBOARD_DATA_SVM.problem().about("svm"));
    }
    if inactive {
        return Err(codes::unsupported("The onboard key manager is enabled as soon as it is made."));
    }
    let synchronize = body.flag("onboard.synchronize").unwrap_or(false);
    if synchronize {
        check_synchronization(call, body)?;
    }
    let text = body.text(PASSPHRASE).unwrap_or_default();
    let wrong_length = || {
        let meaning = code::ONBOARD_LENGTH.meaning;
        code::ONBOARD_LENGTH
            .with(format!("{meaning} It must have 32 to 256 ASCII characters, in Common Criteria mode 64 at least."))
            .about(PASSPHRASE)
    };
    let passphrase = passphrase(engine, text)?.ok_or_else(wrong_length)?;
    // Before it is there, no mode but the platform's can be asked for.
    let mode = match engine.facts().cluster.common_criteria {
        Some(Fact::Known(true) | Fact::Unknown) => OnboardMode::CommonCriteria,
        Some(Fact::Known(false)) | None => OnboardMode::Unattended,
    };
    passphrase.check(rules(mode)).map_err(|_| wrong_length())?;
    let made = match synchronize {
        true => engine.synchronize_onboard(mode, &passphrase),
        false => engine.create_onboard(mode, &passphrase),
    };
    let onboard = made.map_err(|error| match error {
        KeystoreError::Passphrase(_) => wrong_length(),
        KeystoreError::Random(_) | KeystoreError::Generate(_) => code::CKEK_NOT_GENERATED.because(&error),
        KeystoreError::Records(_) => code::CKEK_NOT_STORED.because(&error),
        error => codes::of_keystore(&error),
    })?;
    Ok(Answer::created(instance(COLLECTION, onboard.id)))
}

const fn rules(mode: OnboardMode) -> PassphraseRules {
    match mode {
        OnboardMode::Unattended => PassphraseRules::Standard,
        OnboardMode::CommonCriteria => PassphraseRules::CommonCriteria,
    }
}

/// What a creation "from the partner" needs.
fn check_synchronization(call: &Call<'_>, body: &Body) -> Result<(), Problem> {
    let engine = &call.service.engine;
    if body.text(PASSPHRASE).is_none() {
        return Err(code::SYNC_CREATE_PASSPHRASE.problem().about(PASSPHRASE));
    }
    if body.text("onboard.existing_passphrase").is_some() {
        return Err(code::SYNC_CREATE_EXISTING.problem().about("onboard.existing_passphrase"));
    }
    let metrocluster = engine.facts().metrocluster;
    if metrocluster.configured != Fact::Known(true) {
        return Err(code::SYNC_CREATE_NO_METROCLUSTER.problem());
    }
    if engine.keystore().is_some() {
        return Err(code::SYNC_CREATE_CONFIGURED.problem());
    }
    if metrocluster.partner_key_manager != Fact::Known(PartnerKeyManager::Onboard) {
        return Err(code::SYNC_CREATE_NO_PARTNER.problem());
    }
    Ok(())
}
