// All heads as a table of their metrics: the same as the overview, in numbers.
import { fieldName, headsOf } from "./overview.js";
import { saveBar } from "./save.js";
import { sortable } from "./table.js";

export function headsView(root, onChoose) {
  let [reading, rows] = [null, null];

  saveBar(root.querySelector(".save"), {
    name: () => "heads", rows: () => rows(), json: () => ({ model: reading.reply.model, ...reading.reply.metrics }),
  });

  return {
    show(newReading) {
      reading = newReading;
      const { metrics, model } = reading.reply;
      root.querySelector(".none").hidden = Boolean(metrics);
      root.querySelector("table").hidden = !metrics;
      if (!metrics) {
        return;
      }
      rows = sortable(root.querySelector("table"), {
        caption: `Heads of ${model} on this text: means over its tokens`,
        columns: [
          { name: "head", of: ({ layer, head }) => `${layer}.${head}` },
          { name: "does", of: ({ labels }) => labels.join(", ") },
          ...metrics.fields.map((field) => ({
            name: fieldName(field), of: (head) => head.metrics[field], show: (value) => value.toFixed(3),
          })),
        ],
        rows: headsOf(reading.reply),
        chosen: ({ layer, head }) => onChoose(layer, head),
      });
    },
  };
}
