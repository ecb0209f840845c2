//! What is done before there is anything to look at: told by the thread that does it, kept for the one that shows it.
//! Nothing of windows is here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

/// Something that is being done, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What it is: `lowering`.
    pub what: String,
    /// Which part of it is being done.
    pub part: Option<Part>,
    /// When it began.
    pub began: Duration,
    /// How long it took, once it is over.
    pub took: Option<Duration>,
}

/// A part of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is: the name of a pass.
    pub what: String,
    /// How many parts are done.
    pub done: usize,
    /// How many there are.
    pub all: usize,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News<T> {
    /// A task begins; the one before it is over.
    Begins(String),
    /// A part of the task begins.
    Part(Part),
    /// Something to look at while the rest is done.
    Shows(T),
    /// Here it is, or why there is nothing.
    Ends(Result<T, String>),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<T> {
    /// It goes on.
    Going,
    /// It is done.
    Ready(T),
    /// It failed, in words.
    Failed(String),
    /// It was called off.
    Stopped,
}

/// All that was told. Times are counted from wherever the caller counts.
#[derive(Clone, Debug)]
pub struct Loading<T> {
    tasks: Vec<Task>,
    early: Option<T>,
    state: State<T>,
}

impl<T> Default for Loading<T> {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            early: None,
            state: State::Going,
        }
    }
}

impl<T> Loading<T> {
    /// What was begun, in order.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// How far it is.
    pub fn state(&self) -> &State<T> {
        &self.state
    }

    /// What there is to look at before the end, once.
    pub fn take_early(&mut self) -> Option<T> {
        self.early.take()
    }

    /// The end, whatever it was.
    pub fn into_state(self) -> State<T> {
        self.state
    }

    /// Takes in what was told. After the end nothing more changes.
    pub fn hear(&mut self, news: News<T>, now: Duration) {
        if !matches!(self.state, State::Going) {
            return;
        }
        match news {
            News::Begins(what) => {
                self.end_task(now);
                self.tasks.push(Task {
                    what,
                    part: None,
                    began: now,
                    took: None,
                });
            }
            News::Part(part) => {
                if let Some(task) = self.tasks.last_mut() {
                    task.part = Some(part);
                }
            }
            News::Shows(early) => self.early = Some(early),
            News::Ends(Ok(made)) => {
                self.end_task(now);
                self.state = State::Ready(made);
            }
            // The task that failed never took its time.
            News::Ends(Err(why)) => self.state = State::Failed(why),
        }
    }

    /// Calls it off, if it is not over.
    pub fn stop(&mut self) {
        if matches!(self.state, State::Going) {
            self.state = State::Stopped;
        }
    }

    fn end_task(&mut self, now: Duration) {
        if let Some(task) = self.tasks.last_mut() {
            task.took = Some(now.saturating_sub(task.began));
            task.part = None;
        }
    }
}

/// The end of the thread that does the work. When it is dropped without [`Teller::ends`], the other side hears that it
/// failed.
pub struct Teller<T> {
    news: Sender<News<T>>,
    stopped: Arc<AtomicBool>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl<T> Clone for Teller<T> {
    fn clone(&self) -> Self {
        Self {
            news: self.news.clone(),
            stopped: self.stopped.clone(),
            wake: self.wake.clone(),
        }
    }
}

impl<T> Teller<T> {
    /// Whether anybody still wants it.
    pub fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// A task begins. Says whether to go on.
    pub fn begins(&self, what: &str) -> bool {
        self.tell(News::Begins(what.to_owned()))
    }

    /// A part of the task begins. Says whether to go on.
    pub fn part(&self, what: &str, done: usize, all: usize) -> bool {
        let what = what.to_owned();
        self.tell(News::Part(Part { what, done, all }))
    }

    /// Something to look at while the rest is done. Says whether to go on.
    pub fn shows(&self, early: T) -> bool {
        self.tell(News::Shows(early))
    }

    /// The last that is told.
    pub fn ends(&self, made: Result<T, String>) {
        self.tell(News::Ends(made));
    }

    fn tell(&self, news: News<T>) -> bool {
        // Whoever listened is gone if it cannot be sent.
        let heard = self.news.send(news).is_ok();
        (self.wake)();
        heard && self.goes_on()
    }
}

/// The end of the thread that shows it.
pub struct Listener<T> {
    news: Receiver<News<T>>,
    stopped: Arc<AtomicBool>,
}

/// Both ends. `wake` is called whenever there is something new, by the thread that tells.
pub fn line<T>(wake: impl Fn() + Send + Sync + 'static) -> (Teller<T>, Listener<T>) {
    let (sender, receiver) = channel();
    let stopped = Arc::new(AtomicBool::new(false));
    let teller = Teller {
        news: sender,
        stopped: stopped.clone(),
        wake: Arc::new(wake),
    };
    let listener = Listener {
        news: receiver,
        stopped,
    };
    (teller, listener)
}

impl<T> Listener<T> {
    /// Takes in all that was told meanwhile; does not wait.
    pub fn listen(&self, loading: &mut Loading<T>, now: Duration) {
        loop {
            match self.news.try_recv() {
                Ok(news) => loading.hear(news, now),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    let why = "the work ended without a word, which is a fault of the program";
                    return loading.hear(News::Ends(Err(why.to_owned())), now);
                }
            }
        }
    }

    /// Tells the other side that nobody wants it any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn began(loading: &mut Loading<u32>, what: &str, ms: u64) {
        loading.hear(News::Begins(what.to_owned()), at(ms));
    }

    #[test]
    fn a_task_ends_when_the_next_begins() {
        let mut loading = Loading::default();
        began(&mut loading, "opening", 5);
        began(&mut loading, "lowering", 30);
        let part = Part {
            what: "stack_weights".to_owned(),
            done: 2,
            all: 15,
        };
        loading.hear(News::Part(part.clone()), at(40));
        let tasks = loading.tasks();
        assert_eq!(tasks.len(), 2);
        assert_eq!((tasks[0].took, &tasks[0].part), (Some(at(25)), &None));
        assert_eq!((tasks[1].took, &tasks[1].part), (None, &Some(part)));
        assert_eq!(loading.state(), &State::Going);
        loading.hear(News::Ends(Ok(7)), at(90));
        assert_eq!(loading.tasks()[1].took, Some(at(60)));
        assert_eq!(loading.tasks()[1].part, None);
        assert_eq!(loading.into_state(), State::Ready(7));
    }

    #[test]
    fn what_is_there_early_is_taken_once_and_ends_nothing() {
        let mut loading = Loading::default();
        began(&mut loading, "lowering", 1);
        loading.hear(News::Shows(1), at(2));
        assert_eq!(loading.take_early(), Some(1));
        assert_eq!(loading.take_early(), None);
        assert_eq!(loading.state(), &State::Going);
        assert_eq!(loading.tasks()[0].took, None);
        loading.hear(News::Ends(Ok(2)), at(3));
        loading.hear(News::Shows(3), at(4));
        assert_eq!(loading.take_early(), None, "it comes too late");
        assert_eq!(loading.into_state(), State::Ready(2));
    }

    #[test]
    fn nothing_changes_after_the_end() {
        let mut failed = Loading::default();
        began(&mut failed, "opening", 1);
        failed.hear(News::Ends(Err("no file".to_owned())), at(2));
        failed.hear(News::Ends(Ok(1)), at(3));
        began(&mut failed, "more", 4);
        failed.stop();
        assert_eq!(failed.state(), &State::Failed("no file".to_owned()));
        assert_eq!(failed.tasks().len(), 1);
        assert_eq!(failed.tasks()[0].took, None, "it was not done");
        // What is ready after it was called off comes too late.
        let mut stopped = Loading::default();
        stopped.stop();
        stopped.hear(News::Ends(Ok(1)), at(3));
        assert_eq!(stopped.state(), &State::Stopped);
    }

    #[test]
    fn both_ends_hear_of_each_other() {
        let woken = Arc::new(AtomicUsize::new(0));
        let wakes = woken.clone();
        let (teller, listener) = line(move || {
            wakes.fetch_add(1, Ordering::Relaxed);
        });
        let mut loading = Loading::default();
        assert!(teller.begins("opening"));
        assert!(teller.part("a", 0, 2));
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        listener.listen(&mut loading, at(1));
        assert_eq!(loading.tasks().len(), 1);
        listener.stop();
        assert!(!teller.goes_on());
        assert!(!teller.begins("lowering"), "nobody wants it any more");
        teller.ends(Ok(3));
        listener.listen(&mut loading, at(2));
        assert_eq!(loading.state(), &State::Ready(3));
    }

    #[test]
    fn a_thread_that_ends_without_a_word_failed() {
        let (teller, listener) = line::<u32>(|| {});
        let mut loading = Loading::default();
        listener.listen(&mut loading, at(1));
        assert_eq!(loading.state(), &State::Going);
        drop(teller);
        listener.listen(&mut loading, at(2));
        assert!(matches!(loading.state(), State::Failed(why) if why.contains("without a word")));
        // The other way round: whoever is gone wants nothing.
        let (teller, listener) = line::<u32>(|| {});
        drop(listener);
        assert!(!teller.goes_on());
        assert!(!teller.part("a", 0, 1));
    }
}
