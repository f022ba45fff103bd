// Sums over the bytes of a stage: rows[layer][part].

/** Bytes of every layer. */
export const byLayer = (rows) => rows.map((row) => row.reduce((sum, size) => sum + size, 0));

/** Bytes of every part. */
export const byPart = (rows) => rows[0].map((_, part) => rows.reduce((sum, row) => sum + row[part], 0));

/** All bytes. */
export const stageBytes = (rows) => byLayer(rows).reduce((sum, size) => sum + size, 0);
