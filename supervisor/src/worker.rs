//! A thread that is asked things, and may panic or hang over them.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{io, mem, thread};

/// The thread.
pub(crate) struct Worker<Question, Answer> {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    timeout: Duration,
    /// Whether the answer to a question is still to come, which is too late.
    owes: bool,
}

impl<Question: Send + 'static, Answer: Send + 'static> Worker<Question, Answer> {
    pub(crate) fn start(
        name: &str,
        timeout: Duration,
        answer: impl FnMut(Question) -> Answer + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel::<Question>();
        let (say, answers) = mpsc::channel();
        // If it panics both channels end, and with them every answer.
        let answer = move || asked.iter().map(answer).try_for_each(|it| say.send(it));
        thread::Builder::new().name(name.to_owned()).spawn(answer)?;
        Ok(Self { questions, answers, timeout, owes: false })
    }

    /// Its answer; `None` where it does not come in time, or at all.
    pub(crate) fn ask(&mut self, question: Question) -> Option<Answer> {
        // While it hangs nothing is asked of it, or every call would wait.
        if mem::take(&mut self.owes) && self.answers.try_recv().is_err() {
            self.owes = true;
            return None;
        }
        self.questions.send(question).ok()?;
        let answer = self.answers.recv_timeout(self.timeout);
        self.owes = matches!(answer, Err(RecvTimeoutError::Timeout));
        answer.ok()
    }
}
