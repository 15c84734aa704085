//! Asks the terminal what it can do, and tmux what it lets through.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Asks for kitty's graphics, with a picture of one pixel.
pub(super) const KITTY_QUESTION: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\";

/// Asks for the size of a cell and of the window, the largest sixel picture, the terminal's name and the background; then for the
/// device attributes, which nearly every terminal gives: they end the wait.
pub(super) const QUESTION: &[u8] = b"\x1b[16t\x1b[14t\x1b[?2;1;0S\x1b[>q\x1b]11;?\x1b\\\x1b[c";

/// What tmux says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tmux {
    /// It hands pictures on to its terminal.
    pub(super) passthrough: bool,
    /// The name and version of its terminal, `kitty(0.42.1)`, and the terminal's `TERM`; empty where it doesn't know.
    pub(super) terminal: String,
}

/// Asks tmux; it changes nothing there.
pub(super) fn tmux(pane: Option<String>, limit: Duration) -> Tmux {
    let mut command = Command::new("tmux");
    command.args(["display-message", "-p"]);
    if let Some(pane) = pane {
        command.args(["-t", &pane]);
    }
    command.arg("#{allow-passthrough} #{client_termtype} #{client_termname}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Tmux::default() };
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        // It ends with tmux, at the latest when tmux is killed below.
        std::thread::spawn(move || sender.send(std::io::read_to_string(stdout)));
    }
    let text = receiver.recv_timeout(limit);
    let _ = child.kill(); // it has ended, or takes too long
    let _ = child.wait();
    text.ok().and_then(Result::ok).map_or_else(Tmux::default, |text| read_tmux(&text))
}

fn read_tmux(text: &str) -> Tmux {
    let (passthrough, terminal) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    // 1 and 2 in tmux 3.3's formats, words in later ones.
    Tmux { passthrough: matches!(passthrough, "1" | "2" | "on" | "all"), terminal: terminal.trim().to_owned() }
}

#[cfg(unix)]
pub(super) use unix::terminal;

#[cfg(unix)]
mod unix {
    use std::io::{self, Write, stdin, stdout};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    use crate::graphics::answer;

    /// How long the rest of an escape sequence may take that has begun: terminals write them at once.
    const REST: Duration = Duration::from_millis(100);

    /// What the terminal on standard input and output answers to `question`, until `is_complete` or the time is over; nothing where it
    /// doesn't. It is asked in raw mode. No sequence is cut in two: what comes later begins with its beginning.
    pub(in super::super) fn terminal(question: &[u8], limit: Duration, is_complete: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let stdin = stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Vec::new() };
        let mut raw = before.clone();
        raw.make_raw();
        if tcsetattr(&stdin, OptionalActions::Now, &raw).is_err() {
            return Vec::new();
        }
        let mut answer = Vec::new();
        let exchanged = exchange(&stdin, &mut stdout().lock(), question, limit, &is_complete, &mut answer);
        let is_whole = exchanged.is_ok() && is_complete(&answer);
        // What comes too late would be shown where lines are edited, so what is there of it already is thrown away. In raw mode somebody
        // reads on who knows late answers: there it stays.
        let is_raw = !before.local_modes.contains(LocalModes::ICANON);
        let action = if is_whole || is_raw { OptionalActions::Now } else { OptionalActions::Flush };
        let _ = tcsetattr(&stdin, action, &before); // it worked a moment ago
        answer
    }

    fn exchange(
        from: &impl AsFd,
        to: &mut impl Write,
        question: &[u8],
        limit: Duration,
        is_complete: impl Fn(&[u8]) -> bool,
        answer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        to.write_all(question)?;
        to.flush()?;
        while !is_complete(answer) && answer.len() < 4096 {
            let deadline = if answer::is_cut(answer) { deadline + REST } else { deadline };
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut waiting = [PollFd::new(from, PollFlags::IN)];
            let ready = match poll(&mut waiting, Some(&timeout)) {
                // A signal: whoever waits for it ends the process, or it is nothing to the terminal.
                Err(Errno::INTR) if !left.is_zero() => continue,
                ready => ready?,
            };
            if left.is_zero() || ready == 0 {
                break;
            }
            let mut buffer = [0; 256];
            match rustix::io::read(from, &mut buffer)? {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use std::thread;

        use super::*;

        /// A terminal that answers in parts, each after a while; the first counts as complete with the device attributes.
        fn answered(limit: u64, parts: &[(u64, &'static str)]) -> String {
            let (reading, mut writing) = io::pipe().expect("a pipe");
            let parts = parts.to_vec();
            let terminal = thread::spawn(move || {
                for (after, part) in parts {
                    thread::sleep(Duration::from_millis(after));
                    writing.write_all(part.as_bytes()).expect("it is read, or still could be");
                }
                writing // open until here: no end of file
            });
            let (mut asked, mut answer) = (Vec::new(), Vec::new());
            let is_complete = |bytes: &[u8]| answer::parse(bytes).is_complete;
            let limit = Duration::from_millis(limit);
            exchange(&reading, &mut asked, b"?", limit, is_complete, &mut answer).expect("an exchange");
            assert_eq!(asked, b"?");
            terminal.join().expect("it ends");
            String::from_utf8(answer).expect("text")
        }

        #[test]
        fn no_answer_is_cut_in_two() {
            let colour = "\x1b]11;rgb:0000/0000/0000\x1b\\";
            let (start, rest) = colour.split_at(9);
            assert_eq!(answered(20, &[(0, start), (40, rest)]), colour);
            // Complete, or never: either way it isn't waited for what may still come.
            assert_eq!(answered(60_000, &[(0, "\x1b[?62;"), (5, "4c")]), "\x1b[?62;4c");
            assert_eq!(answered(20, &[(0, colour), (200, "\x1b[?62c")]), colour);
        }
    }
}

/// Nothing: Windows' terminals are not asked.
#[cfg(not(unix))]
pub(super) fn terminal(_question: &[u8], _limit: Duration, _is_complete: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmux_is_understood() {
        let tmux = |passthrough, terminal: &str| Tmux { passthrough, terminal: terminal.to_owned() };
        assert_eq!(read_tmux("1 kitty(0.42.1) xterm-kitty\n"), tmux(true, "kitty(0.42.1) xterm-kitty"));
        assert_eq!(read_tmux("all  xterm-256color\n"), tmux(true, "xterm-256color"));
        assert_eq!(read_tmux("0  \n"), tmux(false, ""));
        assert_eq!(read_tmux(""), tmux(false, ""));
    }
}
