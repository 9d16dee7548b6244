// Lines over time and the depth of a book, as SVG, without a library. Each picture also says in words what it shows.

const SVG = 'http://www.w3.org/2000/svg';
const CLASSES = ['one', 'two', 'three'];

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(0)} k`;
  return size >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

// series: [{name, values}], newest last; a value may be null. Logarithmic charts begin at 10.
export function lines(svg, legend, series, {logarithmic = false, unit = '', seconds = 1} = {}) {
  const [width, height, left, bottom, top] = [600, 200, 52, 20, 8];
  const known = series.flatMap((one) => one.values).filter((value) => value !== null);
  const most = nice(Math.max(1, ...known));
  const low = logarithmic ? 10 : 0;
  const high = logarithmic ? Math.max(most, 100) : most;
  const scale = (value) => (logarithmic ? Math.log10(Math.max(value, low) / low) / Math.log10(high / low) : value / high);
  const y = (value) => top + (height - bottom - top) * (1 - scale(value));
  const count = Math.max(2, ...series.map((one) => one.values.length));
  const x = (index) => left + (width - left - 4) * (index / (count - 1));
  svg.replaceChildren();
  const marks = [];
  if (logarithmic) for (let mark = low; mark <= high; mark *= 10) marks.push(mark);
  else marks.push(0, high / 2, high);
  for (const mark of marks) {
    svg.append(node('line', {class: 'grid', x1: left, x2: width, y1: y(mark), y2: y(mark)}));
    svg.append(node('text', {x: left - 6, y: y(mark) + 4, 'text-anchor': 'end'}, short(mark)));
  }
  svg.append(node('text', {x: left, y: height - 4}, `${Math.round((count - 1) * seconds)} s ago`));
  svg.append(node('text', {x: width - 4, y: height - 4, 'text-anchor': 'end'}, 'now'));
  series.forEach((one, index) => {
    let path = '';
    let pen = false;
    one.values.forEach((value, at) => {
      if (value === null) { pen = false; return; }
      path += `${pen ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = true;
    });
    svg.append(node('path', {class: CLASSES[index], d: path}));
  });
  const last = (one) => one.values.at(-1);
  svg.setAttribute('aria-label', series.map((one) => `${one.name}: ${short(last(one))} ${unit} now`).join(', '));
  legend.replaceChildren(...series.map((one, index) => {
    const item = document.createElement('li');
    const sample = node('svg', {viewBox: '0 0 28 8', 'aria-hidden': 'true'});
    sample.append(node('path', {class: CLASSES[index], d: 'M0 4L28 4'}));
    item.append(sample, `${one.name} ${short(last(one))} ${unit}`);
    return item;
  }));
}

// Sums of quantities from the best price outwards, bids to the left, asks to the right.
export function depth(svg, book) {
  const [width, height, bottom, top] = [600, 240, 22, 8];
  const sums = (levels) => {
    let sum = 0;
    return levels.map((level) => { sum += Number(level.quantity); return {price: Number(level.price), sum}; });
  };
  const bids = sums(book.bids);
  const asks = sums(book.asks);
  svg.replaceChildren();
  if (bids.length + asks.length === 0) {
    svg.append(node('text', {x: width / 2, y: height / 2, 'text-anchor': 'middle'}, 'the book is empty'));
    svg.setAttribute('aria-label', `The book of ${book.symbol} is empty`);
    return;
  }
  const prices = [...bids, ...asks].map((level) => level.price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const most = Math.max(bids.at(-1)?.sum ?? 0, asks.at(-1)?.sum ?? 0, 1e-12);
  const x = (price) => (high === low ? width / 2 : ((price - low) / (high - low)) * width);
  const y = (sum) => top + (height - bottom - top) * (1 - sum / most);
  const side = (levels, edge, name) => {
    if (levels.length === 0) return;
    let path = `M${x(levels[0].price).toFixed(1)} ${y(0)}`;
    let before = 0;
    for (const level of levels) {
      path += `L${x(level.price).toFixed(1)} ${y(before).toFixed(1)}L${x(level.price).toFixed(1)} ${y(level.sum).toFixed(1)}`;
      before = level.sum;
    }
    path += `L${edge} ${y(before).toFixed(1)}L${edge} ${y(0)}Z`;
    svg.append(node('path', {class: name, d: path}));
  };
  side(bids, 0, 'bid');
  side(asks, width, 'ask');
  svg.append(node('text', {x: 4, y: height - 6}, String(low)));
  svg.append(node('text', {x: width - 4, y: height - 6, 'text-anchor': 'end'}, String(high)));
  const said = (levels, name) => (levels.length === 0 ? `no ${name}s` : `${name}s for ${short(levels.at(-1).sum)} from ${levels[0].price}`);
  svg.setAttribute('aria-label', `Depth of ${book.symbol}: ${said(bids, 'bid')}, ${said(asks, 'ask')}`);
}
