//! One connection for all calls: commands are pipelined, and replies come in the order of the commands.
//!
//! A system call or a thread switch costs more than a command, so commands are batched. A call adds its command to a queue.
//! The first one there leads: it yields to the other tasks of its thread, so that they can queue commands too, and then
//! sends all of them at once. A task of the connection reads the replies and wakes the first call that has one. That call
//! wakes the others, on its own thread. So a hundred calls need as many thread switches as one.
//!
//! Both roles are safe against cancellation: a leader that is dropped sends first, and a call that is dropped with a reply
//! wakes the others. Neither may stall: after [`PATIENCE`] the task takes over. It also sends what the connection does not
//! accept at once.

mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use redis::Cmd;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf, ReadHalf};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, Sleep, sleep_until};

use super::reply::{Answer, Malformed, Replies};
use super::stream::Stream;
pub(super) use queue::Lost;
use queue::{Outcome, Queue, Sending, Waiting};

/// Size of the read and write buffers. They grow for a long message, and shrink after it.
const ROOM: usize = 64 * 1_024;

/// How long a call that has to send for others, or to wake them, may stall before the task takes over.
const PATIENCE: Duration = Duration::from_millis(5);

/// A connection that has been made.
pub(super) struct Wire {
    shared: Arc<Shared>,
    /// Ends when the connection breaks, or when the last user drops it.
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    queue: Mutex<Queue>,
    sending: Mutex<Sending>,
    /// Calls that have a reply and are not woken yet.
    answered: Mutex<VecDeque<(oneshot::Sender<Outcome>, Outcome)>>,
    task: AtomicWaker,
}

impl Wire {
    /// Starts the protocol on `stream`, with a task of its own.
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        let (reading, half) = tokio::io::split(stream);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            sending: Mutex::new(Sending { half, bytes: Vec::new(), sent: 0 }),
            answered: Mutex::default(),
            task: AtomicWaker::new(),
        });
        let mut task = Task {
            shared: Arc::clone(&shared),
            reading,
            room: vec![0; ROOM],
            filled: 0,
            replies: Replies::default(),
            alarm: None,
        };
        let task = tokio::spawn(async move {
            let end = poll_fn(|context| task.poll(context)).await;
            task.shared.end(end);
        });
        Self { shared, task }
    }

    /// Whether it is open, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.shared.queue).end.is_none()
    }

    /// Whether calls are waiting without any reply for this long.
    pub(super) fn stands_still(&self, long: Duration) -> bool {
        let queue = lock(&self.shared.queue);
        !queue.waiting.is_empty() && queue.went_on.is_some_and(|went_on| went_on.elapsed() > long)
    }

    /// Sends one command.
    pub(super) async fn send(&self, command: &Cmd, deadline: Instant) -> Outcome {
        let _others = PassOn(&self.shared);
        let (sender, receiver) = oneshot::channel();
        self.put([(command, sender)], deadline).await?;
        receiver.await.unwrap_or(Err(Lost::Broken))
    }

    /// Sends several commands in one pipeline. The replies are in their order.
    pub(super) async fn send_all(&self, commands: &[&Cmd], deadline: Instant) -> Result<Vec<Answer>, Lost> {
        let others = PassOn(&self.shared);
        let (senders, receivers): (Vec<_>, Vec<_>) = commands.iter().map(|_| oneshot::channel()).unzip();
        self.put(commands.iter().copied().zip(senders), deadline).await?;
        let mut answers = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            answers.push(receiver.await.unwrap_or(Err(Lost::Broken))?);
            // The next reply may be among them.
            others.pass_on();
        }
        Ok(answers)
    }

    /// Queues commands, and leads if no other call does.
    async fn put<'c>(
        &self,
        commands: impl IntoIterator<Item = (&'c Cmd, oneshot::Sender<Outcome>)>,
        deadline: Instant,
    ) -> Result<(), Lost> {
        let shared = &*self.shared;
        let leads = {
            let mut queue = lock(&shared.queue);
            if let Some(end) = queue.end {
                return Err(end);
            }
            if queue.waiting.is_empty() {
                queue.went_on = Some(Instant::now());
            }
            for (command, sender) in commands {
                command.write_packed_command(&mut queue.unsent);
                queue.waiting.push_back(Waiting { sender: Some(sender), deadline });
            }
            let leads = !std::mem::replace(&mut queue.is_led, true);
            let look_by = if leads { deadline.min(Instant::now() + PATIENCE) } else { deadline };
            if queue.look_by(look_by) {
                shared.task.wake();
            }
            leads
        };
        if leads {
            let _lead = Lead(shared);
            yield_now().await;
        }
        Ok(())
    }
}

/// Sends the queue when it is dropped: in turn, or because its call is cancelled.
struct Lead<'a>(&'a Shared);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // A dropped call has no waker that would be heard; if sending is not complete, the task takes over.
        if !matches!(self.0.poll_send(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))) {
            lock(&self.0.queue).is_left = true;
            self.0.task.wake();
        }
    }
}

/// Wakes all calls that have a reply: at the latest when it is dropped, which is after its own call could get one.
struct PassOn<'a>(&'a Shared);

impl PassOn<'_> {
    fn pass_on(&self) {
        let answered = std::mem::take(&mut *lock(&self.0.answered));
        for (sender, outcome) in answered {
            let _ = sender.send(outcome);
        }
    }
}

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        self.pass_on();
    }
}

impl Shared {
    /// Sends the queue; gives up the lead when it is empty.
    fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = lock(&self.sending);
        let Sending { half, bytes, sent } = &mut *sending;
        let mut half = Pin::new(half);
        loop {
            if bytes.is_empty() {
                let mut queue = lock(&self.queue);
                if queue.unsent.is_empty() {
                    (queue.is_led, queue.is_left) = (false, false);
                    return Poll::Ready(Ok(()));
                }
                std::mem::swap(&mut queue.unsent, bytes);
            }
            while *sent < bytes.len() {
                match ready!(half.as_mut().poll_write(context, &bytes[*sent..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => *sent += count,
                }
            }
            ready!(half.as_mut().poll_flush(context))?;
            *sent = 0;
            bytes.clear();
            bytes.shrink_to(ROOM);
        }
    }

    /// Assigns replies to the calls, in order.
    fn answer(&self, answers: Vec<Answer>) -> Result<(), Lost> {
        {
            let (mut queue, mut answered) = (lock(&self.queue), lock(&self.answered));
            for answer in answers {
                // An unexpected reply must not be taken for that of the next command.
                let waiting = queue.waiting.pop_front().ok_or(Lost::Broken)?;
                answered.extend(waiting.sender.map(|sender| (sender, Ok(answer))));
            }
            if !queue.waiting.is_empty() {
                queue.went_on = Some(Instant::now());
            }
        }
        loop {
            let Some((sender, outcome)) = lock(&self.answered).pop_front() else { return Ok(()) };
            // That call wakes the others. If it was cancelled, go on with the next.
            if sender.send(outcome).is_ok() {
                break;
            }
        }
        if !lock(&self.answered).is_empty() {
            lock(&self.queue).look_by(Instant::now() + PATIENCE);
        }
        Ok(())
    }

    /// Takes over from calls that stalled, and fails those past their deadline.
    fn look(&self, now: Instant) {
        PassOn(self).pass_on();
        self.give_up(now);
        let mut queue = lock(&self.queue);
        queue.is_left |= queue.is_led && !queue.unsent.is_empty();
    }

    /// Fails calls past their deadline, and closes the connection for new ones, even if no call is left.
    fn give_up(&self, now: Instant) {
        let mut late = Vec::new();
        {
            let mut queue = lock(&self.queue);
            for waiting in queue.waiting.iter_mut().filter(|waiting| waiting.deadline <= now) {
                late.extend(waiting.sender.take());
            }
            if !late.is_empty() {
                queue.end.get_or_insert(Lost::Broken);
            }
            let waiting = queue.waiting.iter().filter(|waiting| waiting.sender.is_some());
            queue.look_at = waiting.map(|waiting| waiting.deadline).min();
        }
        for sender in late {
            let _ = sender.send(Err(Lost::Late));
        }
    }

    fn end(&self, end: Lost) {
        PassOn(self).pass_on();
        let waiting = {
            let mut queue = lock(&self.queue);
            let end = *queue.end.get_or_insert(end);
            std::mem::take(&mut queue.waiting).into_iter().map(move |waiting| (waiting, end))
        };
        for (waiting, end) in waiting {
            if let Some(sender) = waiting.sender {
                let _ = sender.send(Err(end));
            }
        }
    }
}

/// The task: reads replies, and sends what has to wait for the connection.
struct Task {
    shared: Arc<Shared>,
    reading: ReadHalf<Box<dyn Stream>>,
    /// Bytes read that are not a complete reply yet.
    room: Vec<u8>,
    filled: usize,
    replies: Replies,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Also ends with its runtime.
impl Drop for Task {
    fn drop(&mut self) {
        self.shared.end(Lost::Broken);
    }
}

impl Task {
    /// Ready when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Lost> {
        // Register before checking, so that no wake-up is missed.
        self.shared.task.register(context.waker());
        if let Poll::Ready(end) = self.poll_read(context) {
            return Poll::Ready(end);
        }
        self.poll_alarm(context);
        let is_left = lock(&self.shared.queue).is_left;
        if is_left && matches!(self.shared.poll_send(context), Poll::Ready(Err(_))) {
            return Poll::Ready(Lost::Broken);
        }
        Poll::Pending
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) {
        loop {
            let Some(look_at) = lock(&self.shared.queue).look_at else { return };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(look_at)));
            if alarm.deadline() != look_at {
                alarm.as_mut().reset(look_at);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return;
            }
            self.shared.look(Instant::now());
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Lost> {
        loop {
            if self.filled == self.room.len() {
                self.room.resize(2 * self.filled, 0);
            }
            let mut free = ReadBuf::new(&mut self.room[self.filled..]);
            let read = ready!(Pin::new(&mut self.reading).poll_read(context, &mut free));
            match (read, free.filled().len()) {
                (Err(_), _) | (Ok(()), 0) => return Poll::Ready(Lost::Broken),
                (Ok(()), count) => self.filled += count,
            }
            if let Err(end) = self.hand_out() {
                return Poll::Ready(end);
            }
        }
    }

    /// Hands out the complete replies.
    fn hand_out(&mut self) -> Result<(), Lost> {
        let mut bytes = &self.room[..self.filled];
        let mut answers = Vec::new();
        let read = loop {
            match self.replies.next(&mut bytes) {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => break Ok(()),
                Err(Malformed) => break Err(Lost::Malformed),
            }
        };
        let rest = self.filled - bytes.len()..self.filled;
        self.filled = rest.len();
        self.room.copy_within(rest, 0);
        if self.filled < ROOM {
            self.room.truncate(ROOM);
            self.room.shrink_to_fit();
        }
        self.shared.answer(answers)?;
        read
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
