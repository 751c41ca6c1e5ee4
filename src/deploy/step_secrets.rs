//! The secrets that steps of a deployment use.

use std::cell::RefCell;
use std::ops::Range;

use secrecy::SecretString;

use crate::mask::{Cut, Masks, Redactor};
use crate::secret::{SecretError, Secrets};
use crate::target::template::SecretId;

/// Provides secrets, and masks them.
pub(super) trait StepSecrets: Redactor {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError>;
    /// The environment variables that commands do not inherit.
    fn environment_names(&self) -> Vec<String>;
}

impl StepSecrets for Secrets {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        Secrets::get(self, id)
    }

    fn environment_names(&self) -> Vec<String> {
        Secrets::environment_names(self)
    }
}

/// The secrets of one deployment. Also masks the values of responses that later steps use as credentials, but
/// only in this deployment, because such a value may be a common word.
pub(super) struct LearnedSecrets<'a> {
    secrets: &'a dyn StepSecrets,
    learned: RefCell<Masks>,
}

impl<'a> LearnedSecrets<'a> {
    pub(super) fn new(secrets: &'a dyn StepSecrets) -> LearnedSecrets<'a> {
        LearnedSecrets { secrets, learned: RefCell::default() }
    }

    /// Masks this value from now on.
    pub(super) fn learn(&self, value: &str) {
        self.learned.borrow_mut().add_learned(value);
    }
}

impl Redactor for LearnedSecrets<'_> {
    fn find(&self, text: &str, cut: Cut) -> Vec<Range<usize>> {
        let mut found = self.secrets.find(text, cut);
        found.extend(self.learned.borrow().find(text, cut));
        found
    }
}

impl StepSecrets for LearnedSecrets<'_> {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        self.secrets.get(id)
    }

    fn environment_names(&self) -> Vec<String> {
        self.secrets.environment_names()
    }
}
