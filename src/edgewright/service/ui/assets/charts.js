// Keeps the charts' rows in the browser, so that a second's update is one row and no chart is rebuilt.
// A row of a scaling loop: [time_ms, slice CPU left, then for each service: p95_ms, mean_ms, limit_cpu, usage_cpu].
window.edgewright = (() => {
  const SPAN_MS = 300_000;
  let charts = [], rows = [], topCpu = 0.5, look = null;

  const tone = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

  function colours() {
    const text = tone("--muted"), line = tone("--line");
    return {
      dark: document.body.classList.contains("body--dark"),
      axis: { axisLabel: { color: text, fontSize: 11 }, axisLine: { lineStyle: { color: line } },
              splitLine: { lineStyle: { color: line, width: 1 } } },
      tooltip: { backgroundColor: tone("--raised"), borderColor: line, textStyle: { color: tone("--text"), fontSize: 12 } },
      main: tone("--data"), second: tone("--data-quiet"), bound: tone("--bad"),
    };
  }

  // Fixed decades around the SLO keep the charts comparable and still; a value outside adds a decade.
  function decades(slo) {
    let low = slo / 10, high = slo * 10;
    for (const chart of charts) if (chart.slo) for (const row of rows) for (const column of chart.columns) {
      const value = row[column];
      if (value > high) high = slo * 10 ** Math.ceil(Math.log10(value / slo));
      if (value > 0 && value < low) low = slo * 10 ** Math.floor(Math.log10(value / slo));
    }
    return { min: low, max: high };
  }

  // Room for the values, but the limit must not come to lie at the bottom: what is far above it leaves the chart.
  function room(chart) {
    let most = chart.limit * 1.25;
    for (const row of rows) for (const column of chart.columns) if (row[column] > most) most = row[column];
    most = Math.min(most, 2 * chart.limit);
    const power = 10 ** Math.floor(Math.log10(most / 4)), interval = [1, 2, 2.5, 5, 10].find((n) => n * power >= most / 4) * power;
    return { min: 0, max: interval * Math.ceil(most / interval), interval };
  }

  function range(chart) {
    if (chart.slo) return decades(chart.slo);
    if (chart.names) return {};
    if (chart.limit) return room(chart);
    const max = chart.top ?? topCpu;
    return { min: 0, max, interval: chart.top ? max / 2 : Math.max(max / 4, 0.25) };
  }

  // Only what is on the screen, or nearly, is drawn.
  function near(element) {
    const { top, bottom } = element.getBoundingClientRect();
    return bottom > -300 && top < innerHeight + 300;
  }

  let asked = 0;
  const drawSoon = () => { cancelAnimationFrame(asked); asked = requestAnimationFrame(draw); };

  function draw() {
    if (document.hidden || !rows.length) return;
    if (!look || look.dark !== document.body.classList.contains("body--dark")) look = colours();
    for (const chart of charts) if (chart.group === "cpu")
      for (const row of rows) for (const column of chart.columns)
        if (row[column] > topCpu) topCpu = row[column] < 1 ? Math.ceil(row[column] * 4) / 4 : Math.ceil(row[column]);
    const end = rows[rows.length - 1][0];
    const gap = (i) => i > 0 && i < rows.length ? rows[i][0] - rows[i - 1][0] : 0;
    const hole = (i) => i > 1 && gap(i) > 4 * Math.max(gap(i - 1), gap(i + 1)); // no line across a time without data
    for (const chart of charts) {
      const echart = getElement(chart.id)?.chart;
      if (!echart || !near(echart.getDom())) continue;
      const log = chart.slo !== undefined;
      const series = chart.columns.map((column, index) => {
        const main = (chart.group === "cpu") === (index === 1);
        const colour = chart.tones ? tone(chart.tones[index]) : main || chart.columns.length === 1 ? look.main : look.second;
        const data = rows.flatMap((row, i) => {
          const point = [row[0], log && !(row[column] > 0) ? null : row[column]]; // a log axis has no zero
          return hole(i) ? [[rows[i - 1][0] + 1, null], point] : [point];
        });
        return { data, itemStyle: { color: colour }, lineStyle: { color: colour },
                 ...((log || chart.limit) && index === 0 ? { markLine: { lineStyle: { color: look.bound, type: [5, 4], width: 1.2 } } } : {}) };
      });
      echart.setOption({
        tooltip: { ...look.tooltip, valueFormatter: (value) => value == null ? "–" : chart.names ? chart.names[value] : log ? `${value.toFixed(1)} ms` : value.toFixed(chart.limit ? 1 : 3) },
        xAxis: { ...look.axis, splitLine: { show: false }, min: end - SPAN_MS, max: end,
                 axisLabel: { ...look.axis.axisLabel } },
        yAxis: { ...look.axis, ...range(chart), axisLine: { show: false },
                 axisLabel: chart.names ? look.axis.axisLabel : { ...look.axis.axisLabel, formatter: (value) => log && Math.abs(Math.log10(value) % 1) > 1e-6 ? "" : String(+value.toPrecision(2)) } },
        series,
      }, { lazyUpdate: true });
    }
  }

  function push(fresh) {
    rows.push(...fresh);
    const end = rows.length ? rows[rows.length - 1][0] : 0;
    rows = rows.filter((row) => row[0] >= end - SPAN_MS);
    draw();
  }

  // Charts mount a moment after their data has come: try again until the last one is there.
  function reset(shown, all) {
    charts = shown; rows = []; topCpu = 0.5;
    push(all);
    if (charts.some((chart) => !getElement(chart.id)?.chart)) setTimeout(() => { if (charts === shown) draw(); }, 250);
  }

  document.addEventListener("visibilitychange", draw);
  addEventListener("scroll", drawSoon, { passive: true });
  addEventListener("resize", drawSoon);
  document.addEventListener("DOMContentLoaded", () => // light or dark
    new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] }));
  return { reset, push };
})();
