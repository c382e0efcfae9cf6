//! How long ago something was, for people.

use std::fmt;

use jiff::Timestamp;

/// How long ago something was, as people say it.
pub(crate) struct Age(i64);

impl Age {
    pub(crate) fn since(then: Timestamp) -> Self {
        Self(Timestamp::now().duration_since(then).as_secs())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ..0 => f.write_str("0 s"),
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7_200 => write!(f, "{} min", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Age;

    #[test]
    fn an_age_is_told_in_one_unit() {
        let told = [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|seconds| Age(seconds).to_string());
        assert_eq!(told, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
