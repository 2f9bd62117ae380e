//! Carries out what the machine of path units decides: looks at paths, watches them, starts units.

use std::os::unix::fs::DirBuilderExt;
use std::time::Instant;

use ferrite_unit::Config;
use ferrite_unit::path::{PathUnit, Watch};

use crate::engine::Engine;
use crate::jobs::{Active, JobKind, Mode, UnitId};
use crate::kinds::{Cause, KindEvent, KindState, Watched};
use crate::path_machine::{Occasion, PathEffect, PathEvent, PathMachine, UnitView, step};
use crate::path_watch::{PathWatch, is_good};
use crate::rate::Rate;

/// What is known of a path unit beside its state.
#[derive(Debug, Default)]
pub struct PathData {
    /// The watches and their keys, in the order of the unit file.
    watches: Vec<(PathWatch, u64)>,
    /// Which of the paths were there when they were looked at last.
    pub seen: Vec<bool>,
    /// How often the unit was started.
    triggers: Rate,
    /// The path that starts it.
    good: String,
}

impl Engine {
    fn path_settings(&self, id: UnitId) -> Option<&PathUnit> {
        match &self.units.get(id)?.unit.config {
            Config::Path(path) => Some(path),
            _ => None,
        }
    }

    /// Queues an event of a path unit.
    pub fn path_happened(&mut self, id: UnitId, event: PathEvent) {
        self.kind_happened(id, KindEvent::Path(event));
    }

    fn view_of_triggered(&self, id: UnitId) -> UnitView {
        let unit = self.triggered_unit(id).and_then(|unit| self.units.get(unit));
        let Some(runtime) = unit else { return UnitView { down: true, ..UnitView::default() } };
        UnitView {
            limit_hit: runtime.result() == Cause::StartLimitHit.as_str(),
            job: runtime.job.is_some(),
            down: runtime.active().is_down() || runtime.active() == Active::Deactivating,
        }
    }

    /// Takes one event of a path unit.
    pub fn path_event(&mut self, id: UnitId, before: PathMachine, event: KindEvent) {
        let own = match event {
            KindEvent::Start => PathEvent::Start,
            KindEvent::Stop => PathEvent::Stop,
            KindEvent::StartLimitHit => PathEvent::StartLimitHit,
            KindEvent::ResetFailed => PathEvent::ResetFailed,
            KindEvent::TriggeredChanged => PathEvent::UnitChanged(self.view_of_triggered(id)),
            KindEvent::Path(event) => event,
            _ => return,
        };
        let Some(old) = self.units.get(id).map(|runtime| runtime.active()) else { return };
        let mut machine = before;
        let mut next = Some(own);
        while let Some(own) = next.take() {
            let Some((after, effects)) = step(machine, own) else {
                if own == PathEvent::Start || own == PathEvent::Stop {
                    self.kind_meaningless(id, event);
                }
                break;
            };
            machine = after;
            for effect in effects {
                let answer = self.path_effect(id, effect);
                next = next.or(answer);
            }
        }
        self.set_kind(id, KindState::Path(machine));
        self.changed(id, old);
    }

    fn path_effect(&mut self, id: UnitId, effect: PathEffect) -> Option<PathEvent> {
        match effect {
            PathEffect::MakeDirectories => self.make_watched_directories(id),
            PathEffect::Look(occasion) => return Some(self.look_at_paths(id, occasion)),
            PathEffect::Trigger => return self.trigger_path(id),
            PathEffect::Unwatch => self.unwatch_paths(id),
        }
        None
    }

    fn make_watched_directories(&mut self, id: UnitId) {
        let Some(path) = self.path_settings(id).filter(|path| path.make_directory) else { return };
        let mut faults = Vec::new();
        for (kind, place) in &path.watches {
            if matches!(kind, Watch::Exists | Watch::ExistsGlob) {
                continue;
            }
            let made = std::fs::DirBuilder::new().recursive(true).mode(path.directory_mode).create(place);
            faults.extend(made.err().map(|error| format!("making {place}: {error}, ignoring it")));
        }
        let title = self.title(id);
        faults.iter().for_each(|fault| self.log.warning(&format!("{title}: {fault}")));
    }

    /// Looks whether a path fits; if none does, watches all of them and looks once more.
    fn look_at_paths(&mut self, id: UnitId, occasion: Occasion) -> PathEvent {
        if !self.view_of_triggered(id).down {
            return PathEvent::UnitRuns;
        }
        if self.any_is_good(id, occasion == Occasion::Change) {
            return PathEvent::Good;
        }
        if let Err(why) = self.watch_paths(id) {
            let title = self.title(id);
            self.log.error(&format!("{title}: {why}"));
            return PathEvent::NotWatched;
        }
        // It may have appeared in the meantime.
        if self.any_is_good(id, occasion != Occasion::UnitEnded) { PathEvent::Good } else { PathEvent::Watched }
    }

    fn any_is_good(&mut self, id: UnitId, counts: bool) -> bool {
        let Some(watches) = self.path_settings(id).map(|path| path.watches.clone()) else { return false };
        // What does not answer does not fit.
        let answer: Vec<bool> = watches.iter().map(|(_, place)| self.answers(place)).collect();
        let data = self.kinds.paths.entry(id).or_default();
        data.seen.resize(watches.len(), false);
        let all = watches.iter().zip(&mut data.seen).zip(answer);
        for ((kind, place), seen) in all.filter(|(_, answers)| *answers).map(|(watch, _)| watch) {
            if let Some(good) = is_good(*kind, place, seen, counts) {
                data.good = good;
                return true;
            }
        }
        false
    }

    fn watch_paths(&mut self, id: UnitId) -> Result<(), String> {
        self.unwatch_paths(id);
        let watches = self.path_settings(id).map(|path| path.watches.clone()).unwrap_or_default();
        for (number, (kind, place)) in watches.iter().enumerate() {
            let fault = |error: std::io::Error| format!("watching {place}: {error}");
            if !self.answers(place) {
                return Err(format!("watching {place}: its file system does not answer"));
            }
            let watch = PathWatch::new(*kind, place).map_err(fault)?;
            let key = self.kinds.watch(Watched::Path(id, number));
            if let Err(error) = self.epoll.add(&watch.file, key) {
                self.kinds.unwatch(key);
                return Err(fault(error));
            }
            self.kinds.paths.entry(id).or_default().watches.push((watch, key));
        }
        Ok(())
    }

    fn unwatch_paths(&mut self, id: UnitId) {
        let watches = self.kinds.paths.get_mut(&id).map(|data| std::mem::take(&mut data.watches));
        for (watch, key) in watches.into_iter().flatten() {
            // The file is closed right afterwards.
            let _ = self.epoll.remove(&watch.file);
            self.kinds.unwatch(key);
        }
    }

    /// Something about a path changed.
    pub fn path_ready(&mut self, id: UnitId, number: usize) {
        let Some((kind, place)) = self.path_settings(id).and_then(|path| path.watches.get(number)).cloned() else {
            return self.unwatch_paths(id);
        };
        let Some(data) = self.kinds.paths.get_mut(&id) else { return };
        let Some((watch, _)) = data.watches.get(number) else { return };
        if watch.take(kind) {
            data.good = place;
            self.path_happened(id, PathEvent::Good);
        } else {
            self.path_happened(id, PathEvent::Stirred);
        }
    }

    /// Starts the unit.
    fn trigger_path(&mut self, id: UnitId) -> Option<PathEvent> {
        if self.stop_waits(id) {
            return None;
        }
        let limit = self.path_settings(id).map(|path| (path.trigger_interval, path.trigger_burst))?;
        let title = self.title(id);
        let data = self.kinds.paths.entry(id).or_default();
        let good = data.good.clone();
        if !data.triggers.count(Instant::now(), limit) {
            self.log.warning(&format!("{title}: trigger limit hit, not starting its unit any more"));
            return Some(PathEvent::TriggerLimitHit);
        }
        let outcome = match self.triggered_unit(id) {
            Some(unit) => self.enqueue(unit, JobKind::Start, Mode::Replace).map(|_| unit).map_err(|e| e.to_string()),
            None => Err("it is not there".to_owned()),
        };
        match outcome {
            Ok(unit) => {
                let name = crate::transaction::Graph::name(self, id);
                let variables = vec![("TRIGGER_UNIT".to_owned(), name), ("TRIGGER_PATH".to_owned(), good)];
                self.note_trigger(unit, variables);
                None
            }
            Err(why) => {
                self.log.warning(&format!("{title}: starting its unit: {why}"));
                Some(PathEvent::NotStarted)
            }
        }
    }
}
