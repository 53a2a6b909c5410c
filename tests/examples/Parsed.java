import com.sun.source.util.JavacTask;
import java.nio.file.Path;
import java.util.List;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaFileObject;
import javax.tools.ToolProvider;

/** Reads a source as the compiler does, without looking for what it imports; prints what is wrong. */
class Parsed {
    public static void main(String[] arguments) throws Exception {
        var compiler = ToolProvider.getSystemJavaCompiler();
        var files = compiler.getStandardFileManager(null, null, null);
        var found = new DiagnosticCollector<JavaFileObject>();
        var sources = files.getJavaFileObjects(Path.of(arguments[0]));
        ((JavacTask) compiler.getTask(null, files, found, List.of(), null, sources)).parse();
        found.getDiagnostics().forEach(System.out::println);
        System.exit(found.getDiagnostics().isEmpty() ? 0 : 1);
    }
}
