//! Read requests, and the ready-to-send frames that answer them. Pure arithmetic.

use crate::layout::Layout;

/// `>IBII`: length, id 7, piece, begin (BEP 3).
pub(crate) const HEADER: usize = 13;
const PIECE: u8 = 7;
/// The most that one batch of requests may ask for; a peer's queue is far below it.
const MAX_BATCH: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) piece: u32,
    pub(crate) begin: u32,
    pub(crate) length: u32,
}

/// Payload that goes from one place of the stream to one place of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) source: u64,
    pub(crate) target: usize,
    pub(crate) length: usize,
}

/// Checked requests from packed little-endian (piece, begin, length) triples.
pub(crate) fn parse(raw: &[u8], layout: &Layout) -> Result<Vec<Request>, &'static str> {
    let (triples, rest) = raw.as_chunks::<12>();
    if !rest.is_empty() || triples.is_empty() {
        return Err("requests must be one or more (piece, begin, length) triples");
    }
    let mut total = 0u64;
    let mut requests = Vec::with_capacity(triples.len());
    for triple in triples {
        let word = |at: usize| {
            u32::from_le_bytes([triple[at], triple[at + 1], triple[at + 2], triple[at + 3]])
        };
        let (piece, begin, length) = (word(0), word(4), word(8));
        let end = begin.checked_add(length);
        if length == 0 || end.is_none_or(|end| end > layout.piece_size(piece)) {
            return Err("a request lies outside of its piece");
        }
        total += u64::from(length);
        if total > MAX_BATCH {
            return Err("the requests of one batch ask for too much");
        }
        requests.push(Request {
            piece,
            begin,
            length,
        });
    }
    Ok(requests)
}

/// How many bytes all frames take.
pub(crate) fn size(requests: &[Request]) -> usize {
    requests.iter().map(|r| HEADER + r.length as usize).sum()
}

/// Writes each frame's header; the payloads are left alone.
pub(crate) fn write_headers(requests: &[Request], slot: &mut [u8]) {
    let mut at = 0;
    for request in requests {
        let header = &mut slot[at..at + HEADER];
        header[..4].copy_from_slice(&(9 + request.length).to_be_bytes());
        header[4] = PIECE;
        header[5..9].copy_from_slice(&request.piece.to_be_bytes());
        header[9..].copy_from_slice(&request.begin.to_be_bytes());
        at += HEADER + request.length as usize;
    }
}

/// Where each payload comes from and goes to, in the order of the stream.
pub(crate) fn chunks(requests: &[Request], layout: &Layout) -> Vec<Chunk> {
    let mut target = 0;
    let mut chunks: Vec<Chunk> = requests
        .iter()
        .map(|request| {
            let chunk = Chunk {
                source: layout.piece_offset(request.piece) + u64::from(request.begin),
                target: target + HEADER,
                length: request.length as usize,
            };
            target += HEADER + chunk.length;
            chunk
        })
        .collect();
    chunks.sort_by_key(|chunk| chunk.source);
    chunks
}

/// Neighbours merged: each run is one unbroken stretch of the stream.
pub(crate) fn runs(chunks: &[Chunk]) -> impl Iterator<Item = &[Chunk]> {
    chunks.chunk_by(|a, b| a.source + a.length as u64 == b.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(requests: &[(u32, u32, u32)]) -> Vec<u8> {
        let words = requests.iter().flat_map(|&(p, b, n)| [p, b, n]);
        words.flat_map(u32::to_le_bytes).collect()
    }

    fn layout() -> Layout {
        Layout::new([100].into_iter(), 32).unwrap()
    }

    #[test]
    fn requests_outside_of_their_piece_are_refused() {
        let parse = |request| parse(&pack(&[request]), &layout()).is_ok();
        assert!(parse((0, 0, 32)));
        assert!(parse((3, 0, 4)));
        assert!(!parse((3, 0, 5)));
        assert!(!parse((4, 0, 1)));
        assert!(!parse((0, 0, 0)));
        assert!(!parse((0, 1, 32)));
        assert!(!parse((0, u32::MAX, 2)));
        assert!(!parse((u32::MAX, 0, 1)));
        assert!(super::parse(&[], &layout()).is_err());
        assert!(super::parse(&[0; 13], &layout()).is_err());
    }

    #[test]
    fn neighbours_become_one_run_whatever_their_order() {
        let raw = pack(&[(1, 0, 32), (0, 16, 16), (3, 0, 4), (0, 0, 16)]);
        let requests = parse(&raw, &layout()).unwrap();
        let chunks = chunks(&requests, &layout());
        let runs: Vec<Vec<u64>> = runs(&chunks)
            .map(|run| run.iter().map(|chunk| chunk.source).collect())
            .collect();
        assert_eq!(runs, [vec![0, 16, 32], vec![96]]);
        let target = |source| chunks.iter().find(|c| c.source == source).unwrap().target;
        assert_eq!(target(32), 13);
        assert_eq!(target(16), 13 + 32 + 13);
        assert_eq!(size(&requests), 4 * 13 + 68);
    }

    #[test]
    fn the_same_block_twice_is_two_runs() {
        let requests = parse(&pack(&[(0, 0, 16), (0, 0, 16)]), &layout()).unwrap();
        assert_eq!(runs(&chunks(&requests, &layout())).count(), 2);
    }

    #[test]
    fn headers_are_as_in_bep_3() {
        let requests = parse(&pack(&[(2, 7, 3), (1, 0, 1)]), &layout()).unwrap();
        let mut slot = vec![0xAA; size(&requests)];
        write_headers(&requests, &mut slot);
        let first = [0, 0, 0, 12, 7, 0, 0, 0, 2, 0, 0, 0, 7, 0xAA, 0xAA, 0xAA];
        assert_eq!(slot[..16], first);
        assert_eq!(slot[16..29], [0, 0, 0, 10, 7, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
}
