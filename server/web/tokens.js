// What a reply's rows and columns are called, and where they stand in the text.

export function nameOf(token) {
  const text = token.special || token.text === null ? token.piece || `#${token.id}` : token.text;
  return text.replaceAll("\n", "⏎").replace(/^ +(?=.)/, "").replace(/^ +$/, "␣");
}

function cellOf(token, first, last, end) {
  const { start, part, special, generated, text, piece, id } = token;
  return { name: nameOf(token), start, end, part: part || 0, special, generated, text, piece, id, first, last };
}

// One cell per token: { name, start, end, part, special, generated, text, piece, id, first, last }
export function cellsOf(tokens) {
  return tokens.map((token, i) => cellOf(token, i, i, token.end));
}

// One cell per word, when a reply was reduced to words.
export function wordCellsOf(reply, texts) {
  return reply.words.map(({ tokens }) => {
    const [first, last] = [tokens[0], tokens[tokens.length - 1]];
    const token = reply.tokens[first];
    const cell = cellOf(token, first, last, reply.tokens[last].end);
    if (first !== last && token.start !== null) {
      cell.text = (texts[cell.part] || "").slice(token.start, cell.end);
      cell.name = cell.text.trim() || cell.name;
    }
    return cell;
  });
}
