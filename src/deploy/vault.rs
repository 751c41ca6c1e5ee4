//! What a deployment wants of the configuration's secrets.

use std::cell::RefCell;
use std::ops::Range;

use secrecy::SecretString;

use crate::secret::{Cut, Masks, Redactor, SecretError, Secrets};
use crate::target::template::SecretId;

/// Gives out secrets, and keeps them out of what leaves the program.
pub(super) trait Vault: Redactor {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError>;
    /// Environment variables that a command does not inherit.
    fn environment_names(&self) -> Vec<String>;
}

impl Vault for Secrets {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        Secrets::get(self, id)
    }

    fn environment_names(&self) -> Vec<String> {
        Secrets::environment_names(self)
    }
}

/// The vault of one deployment. It also keeps out what later steps take from an answer as a credential; other
/// deployments show that, since it may be a word.
pub(super) struct Learning<'a> {
    vault: &'a dyn Vault,
    learned: RefCell<Masks>,
}

impl<'a> Learning<'a> {
    pub(super) fn new(vault: &'a dyn Vault) -> Learning<'a> {
        Learning { vault, learned: RefCell::default() }
    }

    /// Keeps this out of all text from now on.
    pub(super) fn learn(&self, value: &str) {
        self.learned.borrow_mut().add_learned(value);
    }
}

impl Redactor for Learning<'_> {
    fn find(&self, text: &str, cut: Cut) -> Vec<Range<usize>> {
        let mut found = self.vault.find(text, cut);
        found.extend(self.learned.borrow().find(text, cut));
        found
    }
}

impl Vault for Learning<'_> {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        self.vault.get(id)
    }

    fn environment_names(&self) -> Vec<String> {
        self.vault.environment_names()
    }
}
