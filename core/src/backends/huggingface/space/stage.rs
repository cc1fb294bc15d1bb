//! The states of a Space.

use std::fmt;

/// The state of a Space, as the Hub reports it. The set grows: unknown states are [`Other`](Self::Other).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpaceStage {
    /// Its repository has nothing to run.
    NoAppFile,
    /// The front matter of its README is wrong.
    ConfigError,
    /// Its container is being built.
    Building,
    /// Its container could not be built.
    BuildError,
    /// It serves.
    Running,
    /// It serves, while a newer version is being built.
    RunningBuilding,
    /// Its program ended with an error.
    RuntimeError,
    /// It is being deleted.
    Deleting,
    /// It is stopped; a visit starts it.
    Stopped,
    /// Its owner paused it; only its owner can restart it.
    Paused,
    /// It sleeps after a time without visits; a visit wakes it.
    Sleeping,
    /// Its container is built and its program starts.
    AppStarting,
    /// It serves, while a newer version starts.
    RunningAppStarting,
    /// A state that ayni does not know, as the Hub spelt it.
    Other(String),
}

impl SpaceStage {
    /// The state that the Hub spells `text`.
    pub fn parse(text: &str) -> Self {
        match text {
            "NO_APP_FILE" => Self::NoAppFile,
            "CONFIG_ERROR" => Self::ConfigError,
            "BUILDING" => Self::Building,
            "BUILD_ERROR" => Self::BuildError,
            "RUNNING" => Self::Running,
            "RUNNING_BUILDING" => Self::RunningBuilding,
            "RUNTIME_ERROR" => Self::RuntimeError,
            "DELETING" => Self::Deleting,
            "STOPPED" => Self::Stopped,
            "PAUSED" => Self::Paused,
            "SLEEPING" => Self::Sleeping,
            "APP_STARTING" => Self::AppStarting,
            "RUNNING_APP_STARTING" => Self::RunningAppStarting,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The state as the Hub spells it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NoAppFile => "NO_APP_FILE",
            Self::ConfigError => "CONFIG_ERROR",
            Self::Building => "BUILDING",
            Self::BuildError => "BUILD_ERROR",
            Self::Running => "RUNNING",
            Self::RunningBuilding => "RUNNING_BUILDING",
            Self::RuntimeError => "RUNTIME_ERROR",
            Self::Deleting => "DELETING",
            Self::Stopped => "STOPPED",
            Self::Paused => "PAUSED",
            Self::Sleeping => "SLEEPING",
            Self::AppStarting => "APP_STARTING",
            Self::RunningAppStarting => "RUNNING_APP_STARTING",
            Self::Other(other) => other,
        }
    }

    /// Whether requests are served now.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::RunningBuilding | Self::RunningAppStarting)
    }

    /// Whether it will serve by itself, or after a visit. Unknown states count as waking.
    pub fn is_waking(&self) -> bool {
        !self.is_running() && !self.is_terminal()
    }

    /// Whether it stays as it is until somebody fixes or restarts it.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::NoAppFile
                | Self::ConfigError
                | Self::BuildError
                | Self::RuntimeError
                | Self::Deleting
                | Self::Paused
        )
    }

    /// Whether it starts only when visited.
    pub(super) fn wants_a_visit(&self) -> bool {
        matches!(self, Self::Sleeping | Self::Stopped | Self::Other(_))
    }

    /// The state as the end of a sentence that begins with "the Space"; for a terminal one, what to do.
    pub fn in_words(&self) -> &'static str {
        match self {
            Self::NoAppFile => "has no application file: push one to its repository",
            Self::ConfigError => "has a wrong configuration: check the front matter of its README",
            Self::Building => "is being built",
            Self::BuildError => "could not be built: read the build log on its page",
            Self::Running => "is running",
            Self::RunningBuilding => "is running while a newer version is being built",
            Self::RuntimeError => "crashed: read the container log on its page and restart it",
            Self::Deleting => "is being deleted",
            Self::Stopped => "is stopped and starts on a visit",
            Self::Paused => "is paused: its owner has to restart it in its settings",
            Self::Sleeping => "is asleep and wakes up on a visit",
            Self::AppStarting => "is starting",
            Self::RunningAppStarting => "is running while a newer version starts",
            Self::Other(_) => "is in a state that this version of ayni does not know",
        }
    }
}

impl fmt::Display for SpaceStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_the_hub_is_running_waking_or_terminal() {
        let running = ["RUNNING", "RUNNING_BUILDING", "RUNNING_APP_STARTING"];
        let waking = ["BUILDING", "STOPPED", "SLEEPING", "APP_STARTING", "A_NEW_STATE"];
        let terminal = ["NO_APP_FILE", "CONFIG_ERROR", "BUILD_ERROR", "RUNTIME_ERROR", "DELETING", "PAUSED"];
        for (names, expected) in [
            (&running[..], [true, false, false]),
            (&waking[..], [false, true, false]),
            (&terminal[..], [false, false, true]),
        ] {
            for name in names {
                let stage = SpaceStage::parse(name);
                assert_eq!(stage.as_str(), *name, "spelt as the Hub spells it");
                assert_eq!([stage.is_running(), stage.is_waking(), stage.is_terminal()], expected, "{name}");
            }
        }
    }
}
