//! The wake-up of the event loop: a descriptor that is readable while completions wait.
//!
//! An eventfd on Linux, a pipe on other Unix systems, a loopback socket pair on Windows.

pub(crate) use imp::Wake;

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    pub(crate) struct Wake(OwnedFd);

    impl Wake {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(
                0,
                EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
            )?))
        }

        pub(crate) fn handle(&self) -> u64 {
            self.0.as_raw_fd() as u64
        }

        /// Makes the descriptor readable. It can only fail when it is readable already.
        pub(crate) fn signal(&self) {
            let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
        }

        pub(crate) fn clear(&self) {
            let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
        }
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod imp {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};

    pub(crate) struct Wake {
        reader: OwnedFd,
        writer: OwnedFd,
    }

    impl Wake {
        pub(crate) fn new() -> io::Result<Self> {
            let (reader, writer) = rustix::pipe::pipe()?;
            for end in [&reader, &writer] {
                fcntl_setfd(end, FdFlags::CLOEXEC)?;
                ioctl_fionbio(end, true)?;
            }
            Ok(Self { reader, writer })
        }

        pub(crate) fn handle(&self) -> u64 {
            self.reader.as_raw_fd() as u64
        }

        /// Makes the descriptor readable. It can only fail when it is readable already.
        pub(crate) fn signal(&self) {
            let _ = rustix::io::write(&self.writer, &[1]);
        }

        pub(crate) fn clear(&self) {
            let _ = rustix::io::read(&self.reader, &mut [0u8; 64]);
        }
    }
}

#[cfg(windows)]
mod imp {
    use std::io::{self, Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::windows::io::AsRawSocket;

    pub(crate) struct Wake {
        reader: TcpStream,
        writer: TcpStream,
    }

    impl Wake {
        pub(crate) fn new() -> io::Result<Self> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let writer = TcpStream::connect(listener.local_addr()?)?;
            let reader = loop {
                // Anybody on this machine may connect first: only our own end will do.
                let (reader, from) = listener.accept()?;
                if from == writer.local_addr()? {
                    break reader;
                }
            };
            writer.set_nodelay(true)?;
            writer.set_nonblocking(true)?;
            reader.set_nonblocking(true)?;
            Ok(Self { reader, writer })
        }

        pub(crate) fn handle(&self) -> u64 {
            self.reader.as_raw_socket()
        }

        /// Makes the socket readable. It can only fail when it is readable already.
        pub(crate) fn signal(&self) {
            let _ = (&self.writer).write(&[1]);
        }

        pub(crate) fn clear(&self) {
            let _ = (&self.reader).read(&mut [0u8; 64]);
        }
    }
}
