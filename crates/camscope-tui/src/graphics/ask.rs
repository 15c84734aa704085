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
pub use unix::terminal;

#[cfg(unix)]
mod unix {
    use std::io::{self, Write, stdin, stdout};
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    /// What the terminal on standard input and output answers to `question`, until `is_complete` or the time is over; nothing where it
    /// doesn't. It is asked in raw mode.
    pub fn terminal(question: &[u8], limit: Duration, is_complete: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let stdin = stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Vec::new() };
        let mut raw = before.clone();
        raw.make_raw();
        if tcsetattr(&stdin, OptionalActions::Now, &raw).is_err() {
            return Vec::new();
        }
        let mut answer = Vec::new();
        let exchanged = exchange(question, limit, &is_complete, &mut answer);
        // What comes too late is thrown away as far as it is there already; the input filter takes the rest.
        let is_whole = exchanged.is_ok() && is_complete(&answer);
        let action = if is_whole { OptionalActions::Now } else { OptionalActions::Flush };
        let _ = tcsetattr(&stdin, action, &before); // it worked a moment ago
        answer
    }

    fn exchange(
        question: &[u8],
        limit: Duration,
        is_complete: impl Fn(&[u8]) -> bool,
        answer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        let mut stdout = stdout().lock();
        stdout.write_all(question)?;
        stdout.flush()?;
        let stdin = stdin();
        while !is_complete(answer) && answer.len() < 4096 {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
            if left.is_zero() || poll(&mut waiting, Some(&timeout))? == 0 {
                break;
            }
            let mut buffer = [0; 256];
            match rustix::io::read(&stdin, &mut buffer)? {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(())
    }
}

/// Nothing: Windows' terminals are not asked.
#[cfg(not(unix))]
pub fn terminal(_question: &[u8], _limit: Duration, _is_complete: impl Fn(&[u8]) -> bool) -> Vec<u8> {
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
