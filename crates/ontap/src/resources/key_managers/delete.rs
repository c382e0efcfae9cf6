//! DELETE: the onboard key manager, where nothing needs it.

use crate::call::Call;
use crate::codes;
use crate::conventions::answer::Answer;
use crate::conventions::body::Body;
use crate::conventions::query::Query;
use crate::problem::Problem;

pub(super) fn run(call: &Call<'_>, _: &mut Query, _: &Body) -> Result<Answer, Problem> {
    call.service.engine.delete_onboard().map_err(|error| codes::of_delete_onboard(&error))?;
    Ok(Answer::changed())
}
