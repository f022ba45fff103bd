// The relative index, with the rule of qtoolkit.compression.sparse_index: a gap is 1 .. 2^bits, a longer distance is broken by fillers.

/** The stored pairs of a row: {gap, value, place, filler}, counted from the place before the first. */
export function storedPairs(row, bits) {
  const most = 2 ** bits, pairs = [];
  let at = -1;
  row.forEach((value, place) => {
    if (!value) return;
    for (; place - at > most; at += most) pairs.push({ gap: most, value: 0, place: at + most, filler: true });
    pairs.push({ gap: place - at, value, place, filler: false });
    at = place;
  });
  return pairs;
}

/** Kept weights, fillers and bits of a whole layer, from how often each distance occurs: [[distance, count], ...]. */
export function layerCost(distances, bits, weightBits) {
  const kept = distances.reduce((sum, [, count]) => sum + count, 0);
  const fillers = distances.reduce((sum, [distance, count]) => sum + count * Math.floor((distance - 1) / 2 ** bits), 0);
  return { kept, fillers, bits: (kept + fillers) * (bits + weightBits) };
}
