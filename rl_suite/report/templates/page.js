"use strict";
// Tables are copied as CSV, with the heads as first line.
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const rows = [...button.closest("table").rows].map((row) =>
      [...row.cells].map((cell) => `"${cell.textContent.trim().replaceAll('"', '""')}"`).join(","));
    const text = rows.join("\n") + "\n";
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      // A page from the disk may have no clipboard: offer the text for copying by hand.
      const area = document.createElement("textarea");
      area.value = text;
      button.closest("div").append(area);
      area.select();
    }
  });
}
